// The main function of the test programs: GoogleTest's, and --file=<name>, which runs the tests
// that stand in that source file. A file without tests is an error: it is what is left when a
// test was not compiled in.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace {

std::string_view base_name(std::string_view path) {
    return path.substr(path.rfind('/') + 1);
}

std::string tests_in(std::string_view file) {
    std::string filter;
    const testing::UnitTest& all = *testing::UnitTest::GetInstance();
    for (int s = 0; s < all.total_test_suite_count(); ++s) {
        const testing::TestSuite& suite = *all.GetTestSuite(s);
        for (int t = 0; t < suite.total_test_count(); ++t) {
            const testing::TestInfo& test = *suite.GetTestInfo(t);
            if (base_name(test.file()) != file) continue;
            filter.append(filter.empty() ? "" : ":").append(suite.name()).append(".");
            filter.append(test.name());
        }
    }
    return filter;
}

} // namespace

int main(int argc, char** argv) {
    // Other threads run in most tests, so a death test starts the program afresh.
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    testing::InitGoogleTest(&argc, argv);

    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (!argument.starts_with("--file=")) {
            std::fprintf(stderr, "Unknown argument %s; see --help, and --file=<source file>.\n",
                         argv[i]);
            return 2;
        }
        const std::string filter = tests_in(argument.substr(7));
        if (filter.empty()) {
            std::fprintf(stderr, "There is no test in %s.\n", argv[i] + 7);
            return 1;
        }
        // A filter given by hand is narrower; a death test's child gets one as well.
        if (GTEST_FLAG_GET(filter) == "*") GTEST_FLAG_SET(filter, filter);
    }
    return RUN_ALL_TESTS();
}
