// What the server of attached processes tells through DPDK's telemetry socket.
//
//   /skua/attach             what is there, and what has happened since the start
//   /skua/attach/users       {"total": n, "0": {…}}, as all rows: 40 at a time, ",40" goes on from there
//   /skua/attach/processes   one row for each session
#pragma once

#include "attach/server.hh"

namespace skua::attach {

/// As long as it lives, the commands answer from this server. Needs a running EAL; after its end nobody looks at the
/// server any more.
class attach_telemetry {
public:
    explicit attach_telemetry(const server& s);
    ~attach_telemetry();
    attach_telemetry(const attach_telemetry&) = delete;
    attach_telemetry& operator=(const attach_telemetry&) = delete;
};

}  // namespace skua::attach
