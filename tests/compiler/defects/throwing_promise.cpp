// Rule 4 (GCC PR 95615): a promise constructor, get_return_object or initial_suspend that throws
// leaks what was made before it, or destroys it twice.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <cstdlib>
#include <new>

int frames = 0;

enum class at { constructor, return_object, initial_suspend };
at place;

struct thrower {
    struct promise_type {
        promise_type() {
            if (place == at::constructor) throw 1;
        }
        thrower get_return_object() {
            if (place == at::return_object) throw 2;
            return {};
        }
        std::suspend_never initial_suspend() {
            if (place == at::initial_suspend) throw 3;
            return {};
        }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() { throw; }
        static void* operator new(std::size_t size) {
            ++frames;
            if (void* memory = std::malloc(size)) return memory;
            throw std::bad_alloc();
        }
        static void operator delete(void* memory) {
            --frames;
            // Not freed: where it is destroyed twice, the count shall tell, not a crash.
            (void)memory;
        }
        counted member;
    };
};

thrower body(counted) {
    co_return;
}

int main() {
    bool right = true;
    for (const at where : {at::constructor, at::return_object, at::initial_suspend}) {
        place = where;
        frames = 0;
        counted::alive = 0;
        bool caught = false;
        try {
            body(counted());
        } catch (int) {
            caught = true;
        }
        std::printf("place %d: caught %d, frames %d, objects %d\n", static_cast<int>(where), caught,
                    frames, counted::alive);
        right = right && caught && frames == 0 && counted::alive == 0;
    }
    return right ? 0 : 1;
}
