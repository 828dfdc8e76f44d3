// The same in braces alone.
// affected-only
// expect: destroys a temporary aggregate twice when it stands in a co_yield expression: name it, and yield std::move(named)
#include <ferry/generator.hpp>

#include <string>

struct row {
    int id;
    std::string name;
};

ferry::generator<row> rows() {
    co_yield {1, "first"};
}
