// What fstat(2) and /proc tell of a socket.
#include "sockfs/socket_file.hh"

#include <fmt/format.h>

namespace skua::sockfs {

struct stat socket_file::status() const {
    struct stat s {};
    s.st_dev = inode_->of().device();
    s.st_ino = inode_->number();
    s.st_mode = S_IFSOCK | 0777;
    s.st_nlink = 1;
    s.st_uid = inode_->owner();
    s.st_blksize = 4096;
    s.st_atim.tv_sec = s.st_mtim.tv_sec = s.st_ctim.tv_sec = std::chrono::system_clock::to_time_t(inode_->made());
    return s;
}

std::string socket_file::link_text() const { return fmt::format("socket:[{}]", inode_->number()); }

}  // namespace skua::sockfs
