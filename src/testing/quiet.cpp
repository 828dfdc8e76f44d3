#include <ferry/testing/quiet.hpp>

#include <ferry/detail/loop_state.hpp>

#include "testing/require_test.hpp"

namespace ferry::testing {

namespace {

const char* name_of(quiet_operation::kind what) noexcept {
    return what == quiet_operation::kind::jobs_completed ? "testing::wait_all_jobs_completed()"
                                                         : "testing::wait_all_tasks_blocked()";
}

} // namespace

bool quiet_operation::ready() {
    require_test(name_of(what_));
    return what_ == kind::jobs_completed && waiter->task->loop->jobs() == 0;
}

std::coroutine_handle<> quiet_operation::start() {
    require_test(name_of(what_)).quiet_.push_back(this);
    return std::noop_coroutine();
}

void quiet_operation::try_withdraw() noexcept {
    detail::link::unlink();
    stop();
}

quiet_operation wait_all_tasks_blocked(blocked_options options) {
    using kind = quiet_operation::kind;
    const kind what = options.ignore_jobs ? kind::tasks_blocked_but_for_jobs : kind::tasks_blocked;
    require_test(name_of(what));
    return quiet_operation(what);
}

quiet_operation wait_all_jobs_completed() {
    require_test(name_of(quiet_operation::kind::jobs_completed));
    return quiet_operation(quiet_operation::kind::jobs_completed);
}

std::size_t active_job_count() {
    require_test("testing::active_job_count()");
    return detail::current_loop()->jobs();
}

} // namespace ferry::testing
