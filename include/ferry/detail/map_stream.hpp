// A function applied to the values of a range on the threads of an executor, some of them ahead of
// who takes the results.
#pragma once

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/counted.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/to_thread.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <source_location>
#include <utility>

namespace ferry {

namespace detail {

// The function, for all calls of it: these may be under way when the stream has gone.
template <class F>
class mapped_function : public reference_counted<mapped_function<F>> {
public:
    template <class G>
    mapped_function(executor& where, G&& f) : f_(forward_stored<G>(f)), where_(&where) {
        runs_for_.loose = true;
    }

    const F& function() const noexcept { return f_; }
    executor& where() const noexcept { return *where_; }
    // Tied to who waits for whoever awaits a result; calls that were begun may outlive both.
    const call_record& runs_for() const noexcept { return runs_for_; }

private:
    const F f_;
    executor* where_;
    call_record runs_for_;
};

// One value on its way: a task of the run's, which its job is awaited by.
template <class F, class Item>
class mapped_item final : public root_child, public recycled {
public:
    using result_type = std::invoke_result_t<const F&, Item>;

    mapped_item(counted<mapped_function<F>> call, Item item, std::source_location where)
        : call_(std::move(call)), item_(std::move(item)), where_(where),
          task_(task_access::none<result_type>()) {}

    auto wait() noexcept { return ended_.wait(); }
    bool failed() const noexcept { return how_ != ending::value; }
    auto take() { return result_.take_wrapped(); }
    [[noreturn]] void rethrow() {
        if (error_ != nullptr) {
            std::rethrow_exception(std::move(error_));
        }
        throw task_cancelled("the call was cancelled, because the run of the loop ends");
    }

    // Nobody takes its result.
    static void drop(mapped_item* one) noexcept {
        if (one->ended_.is_set()) {
            delete one;
        } else {
            one->dropped_ = true;
            one->cancel();
        }
    }

private:
    static task<result_type> run(mapped_item& self) {
        auto job = to_thread(
            {.executor = &self.call_->where()},
            [](mapped_item* one) -> result_type {
                return std::invoke(one->call_->function(), std::move(one->item_));
            },
            &self);
        co_return co_await pass_on(job, self.where_);
    }

    std::coroutine_handle<> begin() override {
        task_ = run(*this);
        return task_access::start(task_, record, *this);
    }
    std::exception_ptr settle() noexcept override { return settle_task(task_, result_); }
    void ended(ending how, std::exception_ptr error) noexcept override {
        if (dropped_) {
            delete this;
            return;
        }
        how_ = how;
        error_ = std::move(error);
        ended_.set();
    }

    counted<mapped_function<F>> call_;
    Item item_;
    std::source_location where_; // the call of map
    task<result_type> task_;
    result_slot<result_type> result_;
    std::exception_ptr error_;
    event ended_;
    ending how_ = ending::value;
    bool dropped_ = false;
};

} // namespace detail

/// What `map` of an executor returns. It belongs to one task. Destroyed, it cancels what has not
/// begun; what runs is waited for by the run, and its result is dropped.
template <class F, std::ranges::view View>
class map_stream {
    using item_type = detail::mapped_item<F, std::ranges::range_value_t<View>>;
    using result_type = typename item_type::result_type;
    struct drop {
        void operator()(item_type* one) const noexcept { item_type::drop(one); }
    };

public:
    using value_type = detail::wrapped_t<result_type>;

    template <class G>
    map_stream(executor& where, std::size_t ahead, G&& f, View values, std::source_location at)
        : call_(new detail::mapped_function<F>(where, std::forward<G>(f))),
          values_(std::move(values)), ahead_(ahead), called_at_(at),
          context_(detail::capture_context()) {}
    map_stream(map_stream&&) = delete;

    /// The result for the next value, in the order of the values; empty at the end. The first error,
    /// of a call or of the range, is thrown; what is under way is cancelled then, and the end comes
    /// after it. Cancelled while it waits, it loses nothing. A second one at a time throws
    /// `ferry::error`.
    task<std::optional<value_type>> next() {
        if (taking_) {
            throw error("map_stream::next() was called while another one waits; results are taken "
                        "one after the other");
        }
        const taking now(*this);
        co_await detail::own_loop_operation();
        const detail::tied until_it_is_there(call_->runs_for());
        try {
            fill();
        } catch (...) {
            end();
            throw;
        }
        if (under_way_.empty()) {
            co_return std::nullopt;
        }
        co_await under_way_.front()->wait();
        const std::unique_ptr<item_type, drop> first = std::move(under_way_.front());
        under_way_.pop_front();
        if (first->failed()) {
            end();
            first->rethrow();
        }
        co_return first->take();
    }

private:
    class taking {
    public:
        explicit taking(map_stream& of) noexcept : of_(&of) { of.taking_ = true; }
        taking(const taking&) = delete;
        taking& operator=(const taking&) = delete;
        ~taking() { of_->taking_ = false; }

    private:
        map_stream* of_;
    };

    void fill() {
        detail::loop_state& loop = detail::require_loop("map_stream::next()");
        if (!at_) {
            at_ = std::ranges::begin(values_);
        }
        while (!ended_ && under_way_.size() < ahead_ && *at_ != std::ranges::end(values_)) {
            under_way_.emplace_back(new item_type(call_, **at_, called_at_));
            under_way_.back()->record.context = context_; // of the call of map
            if (detail::current_lineage() != nullptr) {
                under_way_.back()->record.lineage = &call_->runs_for();
            }
            loop.start_root(*under_way_.back());
            ++*at_;
        }
    }

    void end() noexcept {
        ended_ = true;
        under_way_.clear();
    }

    detail::counted<detail::mapped_function<F>> call_;
    View values_;
    std::optional<std::ranges::iterator_t<View>> at_;
    std::size_t ahead_;
    std::source_location called_at_;
    detail::context_ref context_;
    std::deque<std::unique_ptr<item_type, drop>> under_way_;
    bool ended_ = false;
    bool taking_ = false;
};

namespace detail {

template <class F, class Range>
auto make_map(executor& where, std::size_t ahead, F&& f, Range&& values, std::source_location at) {
    FERRY_CHECK_AWAITED_CALLABLE(F);
    using function = stored_t<F>;
    using view = std::views::all_t<Range>;
    static_assert(std::invocable<const function&, std::ranges::range_value_t<view>>,
                  "the function is called with a value of the range, as a const object: several "
                  "threads share it");
    static_assert(owning_callable<function>,
                  "calls may be under way when the stream has gone: the function must own what it "
                  "touches; it is a function pointer, a class without state, or owned(fn)");
    return map_stream<function, view>(where, ahead, std::forward<F>(f),
                                      std::views::all(std::forward<Range>(values)), at);
}

} // namespace detail

} // namespace ferry
