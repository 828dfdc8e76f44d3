#include "check/check.hpp"

#include "check/service_check.hpp"

#include <stdlib.h>

#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>

namespace demo {
namespace {

namespace fs = std::filesystem;

class temporary_folder {
public:
    temporary_folder() {
        std::string name = (fs::temp_directory_path() / "ferry-demo-check-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr)
            throw std::runtime_error("cannot make a folder in " +
                                     fs::temp_directory_path().string());
        path_ = name;
    }
    ~temporary_folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }

    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;

    [[nodiscard]] const fs::path& path() const { return path_; }

private:
    fs::path path_;
};

} // namespace

int run_check(const options& chosen) {
    try {
        const temporary_folder folder;
        service_check check(chosen, folder.path());
        return check.run() ? 0 : 1;
    } catch (const std::exception& error) {
        std::cout << "ferry-demo --check: " << error.what() << std::endl;
        return 1;
    }
}

} // namespace demo
