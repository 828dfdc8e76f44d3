#include "search.hpp"

#include <algorithm>
#include <bit>

namespace model::detail {
namespace {

bool clash(use a, use b) {
    return a != use::none && b != use::none && (a == use::write || b == use::write);
}

bool independent(const footprint& a, const footprint& b) {
    return a.address != b.address || (!clash(a.data, b.data) && !clash(a.queue, b.queue));
}

int lowest(actor_set set) {
    return std::countr_zero(set);
}

constexpr actor_set all_threads = 0xffff;

} // namespace

void search::progress::join(const progress& other) {
    for (int i = 0; i < max_actors; ++i) {
        at[i] = std::max(at[i], other.at[i]);
    }
}

void search::follow(std::vector<int> schedule) {
    follows_ = true;
    forced_ = std::move(schedule);
}

void search::begin() {
    path_.clear();
    depth_ = 0;
    known_ = decisions_.size();
    current_ = -1;
    used_preemptions_ = 0;
    sleeping_ = 0;
    redundant_ = false;
    broken_.clear();
    events_.clear();
    progress_ = {};
    pending = {};
    cells_.clear();
    if (samples_) {
        patience_ = 1u << (1 + random_() % 4);
    }
}

bool search::next() {
    if (follows_) {
        return false;
    }
    if (samples_) {
        return --samples_ != 0;
    }
    while (!decisions_.empty()) {
        decision& d = decisions_.back();
        if (d.data) {
            if (++d.chosen < d.count) {
                return true;
            }
        } else {
            d.done |= only(d.chosen);
            if (const actor_set left = d.tried & ~d.done & ~d.sleeping) {
                d.chosen = lowest(left);
                return true;
            }
        }
        decisions_.pop_back();
    }
    return false;
}

/// Of these, the running thread and its store buffer.
actor_set search::side_of(actor_set enabled, int running) {
    return running < 0 ? 0 : enabled & (only(running) | only(running + max_threads));
}

/// A store that can arrive does so before its thread goes on: what one expects.
int search::preferred(actor_set enabled, int running) {
    const actor_set own = side_of(enabled, running);
    if (!own) {
        return lowest(enabled);
    }
    return own & ~all_threads ? running + max_threads : running;
}

int search::random_actor(actor_set enabled, int running) {
    if (side_of(enabled, running) && random_() % patience_ != 0) {
        enabled = side_of(enabled, running);
    }
    for (auto skip = random_() % static_cast<unsigned>(std::popcount(enabled)); skip; --skip) {
        enabled &= enabled - 1;
    }
    return lowest(enabled);
}

int search::decide(actor_set enabled, int running, actor_set free, bool all) {
    int chosen = 0;
    current_ = -1;
    const actor_set own = side_of(enabled, running);
    if (follows_) {
        chosen =
            path_.size() < forced_.size() ? forced_[path_.size()] : preferred(enabled, running);
        if (chosen < 0 || chosen >= max_actors || !(enabled & only(chosen))) {
            broken_ = "the schedule to replay does not fit the scenario";
            chosen = preferred(enabled, running);
        }
    } else if (samples_) {
        chosen = random_actor(enabled, running);
    } else if (depth_ < decisions_.size()) {
        const decision& d = decisions_[depth_];
        if (d.data || d.enabled != enabled) {
            broken_ = "the scenario is not deterministic: repeating a schedule led elsewhere";
            return preferred(enabled, running);
        }
        chosen = d.chosen;
        sleeping_ = reduce_ ? (d.sleeping | d.done) & ~only(chosen) : 0;
        current_ = static_cast<int>(depth_++);
    } else if (redundant_) {
        chosen = preferred(enabled, running);
    } else {
        decision d;
        d.enabled = enabled;
        d.all = all;
        if (all) {
            sleeping_ = 0; // time passes for one sleeper at a time, which is no independent step
        }
        d.sleeping = sleeping_;
        const actor_set awake = enabled & ~sleeping_;
        if (!awake) {
            // All that could follow was seen in another order. Run to the end, to leave things
            // tidy.
            redundant_ = true;
            chosen = preferred(enabled, running);
        } else {
            chosen = preferred(awake, running);
            const bool bounded = preemptions_ >= 0 && used_preemptions_ >= preemptions_;
            if (all) {
                d.tried = enabled;
            } else if (reduce_) {
                d.tried = only(chosen);
            } else if (bounded && own) {
                d.tried = own | (enabled & free);
            } else {
                d.tried = enabled;
            }
            d.chosen = chosen;
            decisions_.push_back(d);
            current_ = static_cast<int>(depth_++);
            sleeping_ &= ~only(chosen);
            if (all) {
                sleeping_ = 0;
            }
        }
    }
    if (own && !((own | free) & only(chosen))) {
        ++used_preemptions_;
    }
    path_.push_back(chosen);
    return chosen;
}

int search::choose(int count) {
    int chosen = 0;
    if (follows_) {
        chosen = path_.size() < forced_.size() ? forced_[path_.size()] : 0;
        if (chosen < 0 || chosen >= count) {
            broken_ = "the schedule to replay does not fit the scenario";
            chosen = 0;
        }
    } else if (samples_) {
        chosen = static_cast<int>(random_() % static_cast<unsigned>(count));
    } else if (depth_ < decisions_.size()) {
        const decision& d = decisions_[depth_++];
        if (!d.data || d.count != count) {
            broken_ = "the scenario is not deterministic: repeating a schedule led elsewhere";
        } else {
            chosen = d.chosen;
        }
    } else if (!redundant_) {
        decision d;
        d.data = true;
        d.count = count;
        decisions_.push_back(d);
        ++depth_;
    }
    path_.push_back(chosen);
    return chosen;
}

void search::happened(int actor, const footprint& what) {
    if (!reduce_) {
        return;
    }
    for (actor_set left = sleeping_; left; left &= left - 1) {
        if (!independent(pending[lowest(left)], what)) {
            sleeping_ &= ~only(lowest(left));
        }
    }

    cell& c = cells_[what.address];
    neighbours_.clear();
    find_neighbours(what.data, c.data);
    find_neighbours(what.queue, c.queue);
    const progress before = progress_[actor];
    progress& after = progress_[actor];
    for (const std::uint32_t n : neighbours_) {
        after.join(at(n).after);
    }
    const auto number = static_cast<std::uint32_t>(events_.size() + 1);
    after.at[actor] = number;
    events_.push_back({actor, current_, after});

    // What repeats the last execution was looked at then.
    if (current_ >= 0 && depth_ >= known_) {
        for (const std::uint32_t n : neighbours_) {
            if (!ordered(n, before)) {
                reverse(n);
            }
        }
    }

    for (auto [how, known] : {std::pair{what.data, &c.data}, std::pair{what.queue, &c.queue}}) {
        if (how == use::read) {
            known->reads[actor] = number;
        }
        if (how == use::write) {
            *known = {number, {}};
        }
    }
}

/// The earlier steps that a step of this kind conflicts with, latest ones only.
void search::find_neighbours(use how, const accesses& earlier) {
    if (how == use::none) {
        return;
    }
    if (earlier.write) {
        neighbours_.push_back(earlier.write);
    }
    if (how == use::write) {
        for (const std::uint32_t read : earlier.reads) {
            if (read) {
                neighbours_.push_back(read);
            }
        }
    }
}

bool search::ordered(std::uint32_t earlier, const progress& before) const {
    const int actor = at(earlier).actor;
    if (before.at[actor] >= earlier) {
        return true;
    }
    for (const std::uint32_t n : neighbours_) {
        if (n != earlier && at(n).after.at[actor] >= earlier) {
            return true;
        }
    }
    return false;
}

/// The last step could also have come before this one: sees to it that it is tried.
void search::reverse(std::uint32_t earlier) {
    const event& first = at(earlier);
    if (first.decision < 0) {
        return;
    }
    decision& d = decisions_[static_cast<std::size_t>(first.decision)];
    if (d.all) {
        return;
    }
    // Of what came after the earlier step and did not need it: who can start? One of them is
    // enough, since the others come after it in some reordering (source sets, Abdulla et al., POPL
    // 2014).
    actor_set starts = 0;
    by_id<std::uint32_t, max_actors> seen;
    for (std::uint32_t n = earlier + 1; n <= events_.size(); ++n) {
        const event& e = at(n);
        const bool last = n == events_.size();
        if (!last && e.after.at[first.actor] >= earlier) {
            continue;
        }
        if (!seen[e.actor]) {
            bool free = true;
            for (int a = 0; a < max_actors; ++a) {
                free = free && !(seen[a] && e.after.at[a] >= seen[a]);
            }
            if (free) {
                starts |= only(e.actor);
            }
            seen[e.actor] = n;
        }
    }
    if (starts & (d.tried | d.sleeping)) {
        return;
    }
    starts &= d.enabled;
    const int later = events_.back().actor;
    if (starts & only(later)) {
        d.tried |= only(later);
    } else if (starts) {
        d.tried |= only(lowest(starts));
    } else {
        d.tried |= d.enabled;
    }
}

void search::also_try(int actor) {
    if (reduce_ && current_ >= 0) {
        decisions_[static_cast<std::size_t>(current_)].tried |= only(actor);
    }
}

std::string search::schedule() const {
    std::string text;
    for (const int chosen : path_) {
        if (!text.empty()) {
            text += ' ';
        }
        text += std::to_string(chosen);
    }
    return text;
}

} // namespace model::detail
