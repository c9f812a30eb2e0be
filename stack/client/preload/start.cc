// What happens when the preload is loaded.
#include "client/descriptors.hh"
#include "client/preload/placement.hh"

namespace skua::client {

namespace {

struct start {
    start() {
        descriptors::instance().sees_all();
        placement::instance();
    }
} now;

}  // namespace

}  // namespace skua::client
