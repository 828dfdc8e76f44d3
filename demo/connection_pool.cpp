#include "connection_pool.hpp"

#include <exception>

namespace demo {

connection_pool::lease::lease(connection_pool& pool, std::unique_ptr<sqlite_connection> connection)
    : pool_(pool), connection_(std::move(connection)), exceptions_(std::uncaught_exceptions()) {}

connection_pool::lease::~lease() {
    std::unique_ptr<sqlite_connection> broken; // closed after the lock is left
    const std::scoped_lock lock(pool_.mutex_);
    if (std::uncaught_exceptions() == exceptions_) {
        pool_.free_.push_back(std::move(connection_));
    } else {
        broken = std::move(connection_);
        --pool_.opened_;
    }
}

connection_pool::lease connection_pool::take() {
    {
        const std::scoped_lock lock(mutex_);
        if (!free_.empty()) {
            auto connection = std::move(free_.back());
            free_.pop_back();
            return lease(*this, std::move(connection));
        }
    }
    auto connection =
        std::make_unique<sqlite_connection>(file_, sqlite_connection::access::read_only);
    {
        const std::scoped_lock lock(mutex_);
        ++opened_;
        free_.reserve(opened_); // so that giving it back cannot fail
    }
    return lease(*this, std::move(connection));
}

std::size_t connection_pool::opened() const {
    const std::scoped_lock lock(mutex_);
    return opened_;
}

} // namespace demo
