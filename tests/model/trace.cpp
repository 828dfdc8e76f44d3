#include "execution.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <dlfcn.h>
#include <memory>

namespace model::detail {
namespace {

const char* order_name(std::memory_order order) {
    switch (order) {
    case std::memory_order_relaxed: return "relaxed";
    case std::memory_order_consume: return "consume";
    case std::memory_order_acquire: return "acquire";
    case std::memory_order_release: return "release";
    case std::memory_order_acq_rel: return "acq_rel";
    case std::memory_order_seq_cst: return "seq_cst";
    }
    return "";
}

std::string hex(std::uint64_t value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
    return text.data();
}

std::string file_name(std::string_view path) {
    const auto slash = path.rfind('/');
    return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

/// Asks addr2line, which is there where a compiler is. Only failures come here.
std::string line_of(const void* code) {
    Dl_info info{};
    if (!dladdr(code, &info) || !info.dli_fname) {
        return hex(reinterpret_cast<std::uintptr_t>(code));
    }
    const auto offset = reinterpret_cast<std::uintptr_t>(code) -
                        reinterpret_cast<std::uintptr_t>(info.dli_fbase) - 1;
    const std::string command =
        "addr2line -e '" + std::string(info.dli_fname) + "' " + hex(offset) + " 2>/dev/null";
    std::string answer;
    if (const std::unique_ptr<FILE, int (*)(FILE*)> pipe{popen(command.c_str(), "r"), &pclose}) {
        std::array<char, 512> buffer{};
        if (std::fgets(buffer.data(), buffer.size(), pipe.get())) {
            answer = buffer.data();
        }
    }
    while (!answer.empty() && (answer.back() == '\n' || answer.back() == ' ')) {
        answer.pop_back();
    }
    if (const auto more = answer.find(" (discriminator"); more != std::string::npos) {
        answer.resize(more);
    }
    if (answer.empty() || answer.starts_with("??")) {
        return hex(offset);
    }
    return file_name(answer);
}

} // namespace

std::string describe(const site& where) {
    if (where.file) {
        return file_name(where.file) + ":" + std::to_string(where.line);
    }
    if (where.code) {
        return line_of(where.code);
    }
    return where.function ? where.function : "an unknown place";
}

std::string execution::describe(const void* address) const {
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    const named* best = nullptr;
    for (const named& n : names_) { // the smallest object it lies in; of equal ones the last named
        const auto begin = reinterpret_cast<std::uintptr_t>(n.address);
        if (wanted < begin || wanted >= begin + n.size) {
            continue;
        }
        if (!best || n.size <= best->size) {
            best = &n;
        }
    }
    if (!best) {
        return hex(wanted);
    }
    const auto offset = wanted - reinterpret_cast<std::uintptr_t>(best->address);
    return offset ? best->text + "+" + std::to_string(offset) : best->text;
}

std::string execution::describe_value(std::uint64_t value, unsigned size) const {
    if (size == 8 && value > 0xffff) {
        const std::string text = describe(reinterpret_cast<const void*>(value));
        return text.starts_with("0x") ? text : "&" + text;
    }
    return value > 0xffff ? hex(value) : std::to_string(value);
}

void execution::name(const void* address, std::size_t size, std::string text) {
    std::erase_if(names_, [&](const named& n) { return n.address == address && n.size == size; });
    names_.push_back({address, size, std::move(text)});
}

void execution::note(std::string text) {
    record("note", nullptr, 0, step::text, 0, 0, std::memory_order_relaxed, {});
    trace_.back().words = std::move(text);
}

void execution::record(const char* verb, const void* address, unsigned size, step::form shows,
                       std::uint64_t before, std::uint64_t after, std::memory_order order,
                       const site& where) {
    if (unscheduled) {
        return;
    }
    trace_.push_back({running_, verb, address, size, before, after, shows, order, where, {}});
}

std::string execution::trace() const {
    std::string text;
    std::size_t widest = 0;
    for (int i = 0; i < count_; ++i) {
        widest = std::max(widest, thread_of(i).name.size());
    }
    int number = 0;
    for (const step& s : trace_) {
        std::string line = std::to_string(++number);
        line.insert(0, line.size() < 4 ? 4 - line.size() : 0, ' ');
        const std::string& who = thread_of(s.thread).name;
        line += "  " + who + std::string(widest - who.size() + 2, ' ') + s.verb;
        if (s.address) {
            line += " " + describe(s.address);
        }
        switch (s.shows) {
        case step::value: line += " = " + describe_value(s.after, s.size); break;
        case step::change:
            line +=
                " " + describe_value(s.before, s.size) + " -> " + describe_value(s.after, s.size);
            break;
        case step::refused:
            line += " refused: is " + describe_value(s.before, s.size) + ", not " +
                    describe_value(s.after, s.size);
            break;
        case step::text: break;
        }
        if (!s.words.empty()) {
            line += (s.address ? ", " : " ") + s.words;
        }
        if (s.shows != step::text) {
            line += std::string(" (") + order_name(s.order) + ")";
        }
        if (s.where.file || s.where.code) {
            if (line.size() < 72) {
                line.append(72 - line.size(), ' ');
            }
            line += "  " + detail::describe(s.where);
        }
        text += line + "\n";
    }
    return text;
}

std::string execution::stuck(const char* why) const {
    std::string text = why;
    for (int i = 0; i < count_; ++i) {
        const model_thread& t = thread_of(i);
        if (t.is == model_thread::state::finished) {
            continue;
        }
        text += "; " + t.name;
        switch (t.is) {
        case model_thread::state::asleep:
            text += (t.timed ? " sleeps, with a deadline, on " : " sleeps on ") + describe(t.word);
            break;
        case model_thread::state::joining: text += " joins " + thread_of(t.joined).name; break;
        case model_thread::state::joining_all: text += " joins all"; break;
        case model_thread::state::spinning: text += " spins"; break;
        default: text += std::string(" is at ") + t.next.verb; break;
        }
        if (t.next.where.file) {
            text += " at " + detail::describe(t.next.where);
        }
    }
    return text;
}

} // namespace model::detail
