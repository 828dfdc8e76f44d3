#include <ferry/limits.hpp>

#include <ferry/detail/futex_mutex.hpp>

#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace ferry {

class limits::state {
public:
    explicit state(std::size_t total)
        : own_(std::in_place, total), of_(&*own_), core_(of_->core_) {}
    explicit state(capacity_limiter& of) noexcept : of_(&of), core_(of.core_) {}
    state(const state&) = delete;
    ~state() {
        for (const entry& e : entries_) {
            core().remove_part(e.part);
        }
    }

    capacity_limiter& limiter() const noexcept { return *of_; }
    detail::limiter_core& core() const noexcept { return *core_; }

    std::uint32_t add(std::string_view name, const limit_options& options) {
        core().check_fork(); // the lock is the parent's, too
        const std::lock_guard guard(lock_);
        if (find(name) != nullptr) {
            throw std::invalid_argument("limits: \"" + std::string(name) + "\" is there already");
        }
        if (!(options.share > 0 && options.share <= 1)) {
            throw std::invalid_argument("limits: the share of \"" + std::string(name) +
                                        "\" must be above 0 and at most 1");
        }
        entries_.reserve(entries_.size() + 1);
        entry added{std::string(name), 0};
        added.part = core().add_part(options.reserved, options.most, options.share);
        entries_.push_back(std::move(added));
        return entries_.back().part;
    }

    std::uint32_t get(std::string_view name) {
        core().check_fork();
        const std::lock_guard guard(lock_);
        if (const entry* const e = find(name)) {
            return e->part;
        }
        throw std::out_of_range("limits: there is no \"" + std::string(name) + "\"");
    }

    std::vector<limit_statistics> statistics() {
        core().check_fork();
        const std::lock_guard guard(lock_);
        std::vector<limit_statistics> out;
        for (const entry& e : entries_) {
            out.push_back(core().statistics_of(e.part));
            out.back().name = e.name;
        }
        return out;
    }

private:
    struct entry {
        std::string name;
        std::uint32_t part;
    };

    const entry* find(std::string_view name) const noexcept {
        for (const entry& e : entries_) {
            if (e.name == name) {
                return &e;
            }
        }
        return nullptr;
    }

    std::optional<capacity_limiter> own_;
    capacity_limiter* of_;
    detail::counted<detail::limiter_core>
        core_; // the limiter may go first, if nothing is asked of it
    detail::futex_mutex lock_;
    std::vector<entry> entries_;
};

limits::limits(std::size_t total) : state_(std::make_shared<state>(total)) {}

limits::limits(capacity_limiter& of) : state_(std::make_shared<state>(of)) {}

limiter_ref limits::add(std::string_view name, const limit_options& options) {
    return limiter_ref(state_->core(), state_->add(name, options));
}

limiter_ref limits::get(std::string_view name) const {
    return limiter_ref(state_->core(), state_->get(name));
}

capacity_limiter& limits::limiter() const noexcept {
    return state_->limiter();
}

std::vector<limit_statistics> limits::statistics() const {
    return state_->statistics();
}

context_var<limits> task_limits("limits");

limiter_ref limit(std::string_view name) {
    return task_limits.get().get(name);
}

} // namespace ferry
