// A package search service whose event loop stays responsive: the queries run on worker threads.

#include "check/check.hpp"
#include "options.hpp"
#include "run_service.hpp"

#include <iostream>

int main(int argc, char** argv) {
    demo::options chosen;
    try {
        chosen = demo::parse_options(argc, argv);
    } catch (const demo::options_error& error) {
        std::cerr << "ferry-demo: " << error.what() << "\nTry --help.\n";
        return 2;
    }
    if (chosen.help) {
        std::cout << demo::help_text();
        return 0;
    }
    return chosen.check ? demo::run_check(chosen) : demo::run_service(chosen);
}
