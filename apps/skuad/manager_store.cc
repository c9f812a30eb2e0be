// sd_pid_notify_with_fds(3) and sd_listen_fds_with_names(3).
#include "skuad/manager_store.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <cstdlib>

namespace skua {

std::unique_ptr<manager_store> manager_store::find(std::vector<attach::kept>& left) {
    char** names = nullptr;
    const int count = sd_listen_fds_with_names(1, &names);
    for (int i = 0; i < count; i++) {
        const int fd = SD_LISTEN_FDS_START + i;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        left.push_back({names[i], fd});
        std::free(names[i]);
    }
    std::free(names);
    return std::make_unique<manager_store>();
}

bool manager_store::keep(std::string_view name, std::span<const int> fds) {
    // Without FDPOLL=0 systemd drops a bell that hangs up: the next daemon must hear of that itself.
    const std::string text = fmt::format("FDSTORE=1\nFDPOLL=0\nFDNAME={}", name);
    return sd_pid_notify_with_fds(0, 0, text.c_str(), fds.data(), static_cast<unsigned>(fds.size())) > 0;
}

void manager_store::drop(std::string_view name) {
    sd_notify(0, fmt::format("FDSTOREREMOVE=1\nFDNAME={}", name).c_str());
}

}  // namespace skua
