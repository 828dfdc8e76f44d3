// Who waits for an object of one loop, first come, first served: what events, mutexes, semaphores
// and their kin are made of. Loop thread only.
//
// States of a waiter:
//   idle    -> waiting   push(): the object has nothing for it
//   waiting -> woken     the object gave it what it waits for, or was destroyed (`broken`)
//   waiting -> stopped   try_withdraw(): it was cancelled and leaves the list
// What was woken delivers, also when it is cancelled before it is resumed: nothing is lost.
#pragma once

#include <ferry/detail/fork.hpp>
#include <ferry/detail/list.hpp>
#include <ferry/detail/operation.hpp>

#include <coroutine>
#include <cstddef>

namespace ferry::detail {

class loop_state;
class wait_list;

// Why nobody gets an object any more.
enum class breakage : unsigned char {
    destroyed, // while it was awaited
    abandoned, // the task that had locked it ended without unlocking it
    closed,    // on purpose
};

[[noreturn]] void throw_broken(const char* object, breakage why);

class wait_operation : public operation, public link {
protected:
    wait_operation() noexcept { run = &deliver_node; }
    wait_operation(wait_operation&&) noexcept : wait_operation() {} // movable until awaited
    ~wait_operation() { leave(); }

    std::coroutine_handle<> wait_in(wait_list& where) noexcept;

    // For result(): throws when what is waited for will never be given.
    void check_broken();

    // Out of the list it is in, if any.
    void leave() noexcept;

    // It left the list: what it waited for is there, or will never be.
    virtual void woken() noexcept { finish(); }

    void try_withdraw() noexcept override {
        leave();
        stop();
    }

private:
    friend class wait_list;

    wait_list* list_ = nullptr;    // while it waits
    const char* broken_ = nullptr; // what will never be given
    breakage why_ = breakage::destroyed;
};

// The waiters of an object, and the loop whose thread the object belongs to: the one it was made
// on, else the first one it is used on. Only compared, never touched: it may be gone.
class wait_list {
public:
    // `object`: its name, for messages.
    explicit wait_list(const char* object) noexcept;
    wait_list(const wait_list&) = delete;
    wait_list& operator=(const wait_list&) = delete;

    // The object is destroyed: whoever waits gets an error.
    ~wait_list();

    // Throws wrong_thread when this is not the thread of the object's loop, `forked` when that is
    // the parent's.
    void check_thread(const char* call);

    // The same for an await.
    void check_await(const operation& awaiting, const char* call) {
        if (home_ != awaiting_loop(awaiting)) {
            adopt(awaiting, call);
        }
    }

    bool empty() const noexcept { return size_ == 0; }
    std::size_t size() const noexcept { return size_; }
    wait_operation* front() const noexcept { return waiting_.front(); }

    void push(wait_operation& w) noexcept;

    // The first one has what it waited for.
    void wake_front() noexcept { wake(*waiting_.front()); }
    void wake_all() noexcept;

    // The same for what is lent: when the object is destroyed before the waiter was resumed, the
    // waiter gets an error after all.
    void lend_front() noexcept;

    // `w`, which waits in some list, gets an error that names `object`.
    static void break_waiter(wait_operation& w, const char* object, breakage why) noexcept;

    // All that wait here do. (What was lent, they have.)
    void break_waiting(breakage why) noexcept;

private:
    friend class wait_operation;

    static const void* awaiting_loop(const operation& awaiting) noexcept;
    void adopt(const operation& awaiting, const char* call);
    void check_fork() const;
    static void wake(wait_operation& w) noexcept {
        w.leave();
        w.woken();
    }

    list<wait_operation> waiting_;
    list<wait_operation> lent_; // woken, not yet resumed
    std::size_t size_ = 0;      // of waiting_
    const char* object_;
    const void* home_;
    fork_mark mark_; // of the process that it has its home in
};

// A guard: holds what it was lent, and gives it back when it is destroyed, also by a stop. Movable;
// it may travel to another task. On another thread than that of the object's loop it cannot give
// anything back: that ends the process, with a message. `Release` gets the turn that it was made
// with: what the object tells this lending from later ones by.
template <class Object, void (Object::*Release)(std::size_t turn) noexcept>
class [[nodiscard]] held {
public:
    held(held&& other) noexcept : object_(other.object_), turn_(other.turn_) {
        other.object_ = nullptr;
    }
    held& operator=(held&& other) noexcept {
        if (this != &other) {
            release();
            object_ = other.object_;
            turn_ = other.turn_;
            other.object_ = nullptr;
        }
        return *this;
    }
    ~held() { release(); }

    /// Gives it back now.
    void release() noexcept {
        if (object_ != nullptr) {
            Object& from = *object_;
            object_ = nullptr;
            (from.*Release)(turn_);
        }
    }

    /// False when it was given back, or moved from.
    bool holds() const noexcept { return object_ != nullptr; }
    explicit operator bool() const noexcept { return holds(); }

private:
    friend Object;

    held(Object& object, std::size_t turn) noexcept : object_(&object), turn_(turn) {}

    Object* object_;
    std::size_t turn_;
};

// The task that runs now on the thread of `object`'s loop. Throws wrong_thread, and `error` when
// no task runs: only a task can own something.
task_record* require_task(wait_list& object, const char* call);

// For guards: ends the process when this is not the object's thread.
void require_thread_of_guard(wait_list& object, const char* guard) noexcept;

} // namespace ferry::detail
