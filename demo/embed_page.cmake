# Writes OUTPUT, a C++ source that holds the text of INPUT. Run as a script at build time.
#
# The text is cut into pieces, because a compiler may refuse a string literal above 64 KiB.
file(READ "${INPUT}" text)
string(LENGTH "${text}" length)
set(literals "")
set(begin 0)
while(begin LESS length)
    string(SUBSTRING "${text}" ${begin} 8192 piece)
    string(APPEND literals "R\"ferry_page(${piece})ferry_page\"\n")
    math(EXPR begin "${begin} + 8192")
endwhile()
file(WRITE "${OUTPUT}" "// Made from page.html by embed_page.cmake.

#include \"page.hpp\"

namespace demo {

std::string_view page_html() {
    static constexpr char text[] =
${literals};
    return {text, sizeof text - 1};
}

} // namespace demo
")
