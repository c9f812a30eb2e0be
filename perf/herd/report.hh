// What the herd's cases showed: the lines of a table and the JSON file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "herd/shared.hh"

namespace skua::herd {

struct result {
    const char* side;
    mode how;
    unsigned waiters;
    std::uint32_t sent;     // one by one, each to sleeping waiters; the figures up to lost are of these
    double wakeups;         // per datagram
    double useless;         // per datagram: wake-ups that found none
    double p50_us, p99_us;  // from before send to after recv
    std::uint32_t lost;
    double per_second;  // datagrams received while the sender sent as many as they could take
};

const char* name_of(mode how);
std::string table_head(const char* side);
std::string table_line(const result& r);

struct parameters {
    double seconds;
    std::vector<unsigned> waiters;
};
std::string report_json(const std::vector<result>& results, const parameters& p);

}  // namespace skua::herd
