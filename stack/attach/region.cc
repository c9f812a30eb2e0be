// memfd_create(2) and its seals.
#include "attach/region.hh"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/own_descriptor.hh"

namespace skua::attach {

namespace {

constexpr int wanted_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

region::~region() {
    if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
    if (fd_ >= 0) close(fd_);
}

result<region> region::make(const char* name, std::size_t size) {
    const int fd = out_of_the_way(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0) return fail(errno);
    if (ftruncate(fd, static_cast<off_t>(size)) != 0 || fcntl(fd, F_ADD_SEALS, wanted_seals) != 0) {
        const int why = errno;
        close(fd);
        return fail(why);
    }
    return open(fd, size);
}

result<region> region::open(int fd, std::size_t least) {
    region made;
    made.fd_ = fd;
    struct stat facts {};
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &facts) != 0) return fail(EINVAL);
    // Hugetlbfs knows seals too, but a page that it has not got is a SIGBUS.
    struct statfs where {};
    if (fstatfs(fd, &where) != 0 || where.f_type != TMPFS_MAGIC) return fail(EINVAL);
    const auto size = static_cast<std::size_t>(facts.st_size);
    if (size < least || size == 0) return fail(EINVAL);
    void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED) return fail(ENOMEM);
    made.bytes_ = {static_cast<std::byte*>(at), size};
    return made;
}

void region::forget_descriptor() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
}

}  // namespace skua::attach
