// The buffer of a stream, and the range that fills it.
//
// Chunks of slots, each with the one that comes after it. A bounded stream has one chunk, which comes
// after itself: a ring. An unbounded one is a chain: the producer appends, the consumer keeps the last
// chunk that it emptied for the producer to use again.
#pragma once

#include <ferry/detail/owning.hpp>
#include <ferry/detail/stream_core.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace ferry::detail {

// What a stream's callable may return: a range, or a pair of iterators.
template <class R>
struct as_range {
    using type = R;
};
template <std::input_iterator I, std::sentinel_for<I> S>
struct as_range<std::pair<I, S>> {
    using type = std::ranges::subrange<I, S>;
};
template <class R>
using as_range_t = typename as_range<R>::type;

template <class R>
concept stream_range = std::ranges::input_range<as_range_t<R>>;

template <class T>
class stream_buffer : public stream_core {
public:
    // The next item; empty at the end. Throws what the producer threw, closed_channel.
    std::optional<T> take() {
        if (!has_item()) {
            check_end();
            return std::nullopt;
        }
        std::optional<T> out(std::move(front()));
        pop();
        took(1);
        return out;
    }

    // All that are there.
    std::vector<T> take_all() {
        std::vector<T> out;
        if (!has_item()) {
            check_end();
            return out;
        }
        const std::size_t n = available();
        out.reserve(n);
        for (std::size_t i = 0; i != n; ++i) {
            out.push_back(std::move(front()));
            pop();
        }
        took(n);
        return out;
    }

protected:
    explicit stream_buffer(const stream_settings& how) : stream_core(how) {}

    ~stream_buffer() override {
        while (has_more()) {
            pop();
            took(1);
        }
        if (head_.in != nullptr && head_.in->after == head_.in) {
            delete head_.in;
            return;
        }
        delete spare_.load(std::memory_order_relaxed);
        while (head_.in != nullptr) {
            delete std::exchange(head_.in, head_.in->after);
        }
    }

    // The producer, when there is room.
    template <class U>
    void push(U&& value) {
        if (tail_.at == tail_.end) [[unlikely]] {
            next_chunk();
        }
        std::construct_at(std::addressof(tail_.in->slots[tail_.at].value), std::forward<U>(value));
        ++tail_.at;
        publish();
    }

private:
    union slot {
        slot() noexcept {}
        ~slot() {}
        T value;
    };
    struct chunk {
        explicit chunk(std::size_t n) : slots(new slot[n]), size(n) {}
        std::unique_ptr<slot[]> slots;
        std::size_t size;
        chunk* after = nullptr;
    };
    struct place {
        chunk* in = nullptr;
        std::size_t at = 0;
        std::size_t end = 0;
    };

    static constexpr std::size_t most_bytes_of_ring = std::size_t{1} << 20;
    static constexpr std::size_t chunk_size =
        std::clamp<std::size_t>((std::size_t{64} << 10) / sizeof(T), 8, 1024);

    // The producer.
    void next_chunk() {
        chunk* next = tail_.in != nullptr ? tail_.in->after : nullptr;
        if (next == nullptr) {
            const bool ring =
                max_size() <= std::max(most_bytes_of_ring / sizeof(T), std::size_t{1024});
            if (tail_.in == nullptr) {
                next = new chunk(ring ? max_size() : chunk_size);
                next->after = ring ? next : nullptr;
                first_ = next;
            } else {
                next = spare_.exchange(nullptr, std::memory_order_acq_rel);
                if (next == nullptr) {
                    next = new chunk(chunk_size);
                }
                next->after = nullptr;
                tail_.in->after = next;
            }
        }
        tail_ = {next, 0, next->size};
    }

    // The consumer, when something is there.
    T& front() {
        if (head_.at == head_.end) [[unlikely]] {
            advance_chunk();
        }
        return head_.in->slots[head_.at].value;
    }
    void pop() noexcept {
        std::destroy_at(std::addressof(front()));
        ++head_.at;
    }
    void advance_chunk() noexcept {
        chunk* const empty = head_.in;
        chunk* const next = empty == nullptr ? first_ : empty->after;
        head_ = {next, 0, next->size};
        if (empty != nullptr && empty != next) {
            delete spare_.exchange(empty, std::memory_order_acq_rel);
        }
    }
    // Closed or not.
    bool has_more() noexcept { return available() != 0 || (look(), available() != 0); }

    alignas(cache_line) place tail_; // the producer's
    chunk* first_ = nullptr;
    atomic<chunk*> spare_{nullptr};
    alignas(cache_line) place head_; // the consumer's
};

// What is iterated, and how: the callable, its arguments, the range that they gave.
template <class F, class... Args>
class stream_source {
    template <class A>
    static decltype(auto) given(A& argument) {
        return unwrap_borrowed(std::move(argument));
    }

public:
    using result = std::invoke_result_t<F, typename unborrowed<Args>::type...>;
    using range = as_range_t<result>;
    using value_type = std::ranges::range_value_t<range>;

    template <class G, class... Brgs>
    explicit stream_source(std::in_place_t, G&& f, Brgs&&... args)
        : f_(forward_stored<G>(f)), args_(forward_stored<Brgs>(args)...) {}

    range make() {
        return std::apply(
            [&](Args&... args) -> range {
                if constexpr (std::is_same_v<range, result>) {
                    return std::invoke(std::move(f_), given(args)...);
                } else {
                    auto ends = std::invoke(std::move(f_), given(args)...);
                    return range(std::move(ends.first), std::move(ends.second));
                }
            },
            args_);
    }

    // Of a container that is our own, the elements may be moved out.
    static constexpr bool moves = !std::is_reference_v<result> && !std::ranges::view<range> &&
                                  !std::ranges::borrowed_range<range>;

private:
    F f_;
    std::tuple<Args...> args_;
};

template <class Source>
class stream_block final : public stream_buffer<typename Source::value_type> {
    using range = typename Source::range;
    using value_type = typename Source::value_type;

public:
    template <class... Parts>
    explicit stream_block(const stream_settings& how, Parts&&... parts)
        : stream_buffer<value_type>(how),
          source_(std::in_place, std::in_place, std::forward<Parts>(parts)...) {}

private:
    struct iteration {
        explicit iteration(Source& source)
            : of(source.make()), it(std::ranges::begin(of)), end(std::ranges::end(of)) {}
        range of;
        std::ranges::iterator_t<range> it;
        std::ranges::sentinel_t<range> end;
    };

    // No element is asked for before there is room for it.
    bool produce() override {
        if (!iteration_) {
            iteration_.emplace(*source_);
        } else if (this->has_room()) {
            ++iteration_->it;
        } else {
            return !this->asked_to_leave();
        }
        iteration& i = *iteration_;
        for (; i.it != i.end; ++i.it) {
            if constexpr (Source::moves) {
                this->push(std::ranges::iter_move(i.it));
            } else {
                this->push(*i.it);
            }
            if (this->asked_to_leave()) {
                return false;
            }
            if (!this->has_room()) {
                return !this->asked_to_leave();
            }
        }
        return false;
    }

    void drop_source() noexcept override {
        iteration_.reset();
        source_.reset();
    }

    std::optional<Source> source_;
    std::optional<iteration> iteration_;
};

} // namespace ferry::detail
