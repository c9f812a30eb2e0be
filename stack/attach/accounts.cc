// The token bucket.
#include "attach/accounts.hh"

#include <algorithm>

namespace skua::attach {

double account::tokens(clock::time_point now, unsigned per_second) const {
    const double most = most_tokens(per_second);
    if (tokens_ < 0) return most;
    const std::chrono::duration<double> since = now - counted_;
    return std::min(most, tokens_ + since.count() * per_second);
}

bool account::ask(clock::time_point now, unsigned per_second) {
    tokens_ = tokens(now, per_second);
    counted_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
}

bool account::full(clock::time_point now, unsigned per_second) const {
    return tokens(now, per_second) >= most_tokens(per_second);
}

}  // namespace skua::attach
