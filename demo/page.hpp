#pragma once

#include <string_view>

namespace demo {

/// The page, page.html as it was when this program was built.
std::string_view page_html();

} // namespace demo
