// Exits with 1 when a closure made inside a co_await expression is destroyed twice, else with 0.
#include <coroutine>
#include <exception>

namespace {

int alive = 0;

struct counted {
    counted() { ++alive; }
    counted(const counted&) { ++alive; }
    counted& operator=(const counted&) = default;
    ~counted() { --alive; }
};

struct coroutine {
    struct promise_type {
        coroutine get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

template <class F>
std::suspend_never run(F&& function) {
    function();
    return {};
}

coroutine await_closure(const counted& object) {
    co_await run([object] { (void)object; });
}

} // namespace

int main() {
    {
        const counted object;
        await_closure(object);
    }
    return alive == 0 ? 0 : 1;
}
