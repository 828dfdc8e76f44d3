// Rule 9 (GCC PR 98995): a [[no_unique_address]] member initialised by a function's result is
// copied or moved into place, so an immovable one does not compile.
//
// seen: g++ 12.2: does not compile
// seen: clang 19: right

#include <cstdio>

struct immovable {
    immovable() = default;
    immovable(const immovable&) = delete;
    immovable& operator=(const immovable&) = delete;
};

immovable made() {
    return {};
}

struct holder {
    holder() : member(made()) {}
    [[no_unique_address]] immovable member;
    char letter = 'a';
};

int main() {
    const holder h;
    std::printf("%c\n", h.letter);
    return h.letter == 'a' ? 0 : 1;
}
