// Points of several tasks that are passed in a given order.
#pragma once

#include <ferry/detail/list.hpp>
#include <ferry/detail/operation.hpp>

#include <coroutine>
#include <cstddef>
#include <utility>

namespace ferry::testing {

class sequencer;

/// A turn in a sequence: the next one begins when it is destroyed. Movable.
class sequence_turn {
public:
    sequence_turn(sequence_turn&& other) noexcept
        : sequence_(std::exchange(other.sequence_, nullptr)) {}
    sequence_turn& operator=(sequence_turn&& other) noexcept {
        std::swap(sequence_, other.sequence_);
        return *this;
    }
    ~sequence_turn();

private:
    friend class sequence_operation;
    explicit sequence_turn(sequencer& s) noexcept : sequence_(&s) {}

    sequencer* sequence_;
};

/// What `co_await seq(n)` waits at.
class [[nodiscard]] sequence_operation final : public detail::operation, public detail::link {
public:
    sequence_operation(sequencer& s, std::size_t position) noexcept;
    sequence_operation(sequence_operation&& other) noexcept
        : sequence_operation(*other.sequence_, other.position_) {}

    bool ready() noexcept;
    std::coroutine_handle<> start();
    sequence_turn result();

private:
    friend class sequencer;

    void try_withdraw() noexcept override;

    sequencer* sequence_;
    std::size_t position_;
    bool has_turn_ = false;
};

/// Makes tasks do things in a given order, whatever order they run in: `co_await seq(n)` waits
/// until the turns 0 to n - 1 have ended, and gives turn n.
///
///     sequencer seq;
///     // in one task:                                // in another:
///     { auto turn = co_await seq(0); first(); }      { auto turn = co_await seq(1); second(); }
///     co_await seq(2);                               // a turn that ends at once
///
/// Each position is used once: again throws `error`. A wait that is cancelled breaks the sequence,
/// for its turn will not come: all other waits, then and later, throw `error`. It works on any
/// loop, and belongs to that loop's thread; it outlives its turns and waits. Semantics: trio's
/// testing.Sequencer.
class sequencer {
public:
    sequencer() noexcept = default;
    sequencer(const sequencer&) = delete;
    sequencer& operator=(const sequencer&) = delete;

    sequence_operation operator()(std::size_t position) noexcept {
        return sequence_operation(*this, position);
    }

private:
    friend class sequence_operation;
    friend class sequence_turn;

    bool used(std::size_t position) const noexcept;
    void turn_ended() noexcept;
    void break_off() noexcept;

    detail::list<sequence_operation> waiting_;
    std::size_t next_ = 0; // whose turn it is
    bool in_turn_ = false; // that turn has begun
    bool broken_ = false;
};

} // namespace ferry::testing
