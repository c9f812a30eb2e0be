// The C API: descriptors and stack processes. What is no descriptor of the stack is the kernel's.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdarg>

#include "api/answer.hh"
#include "skua/skua.h"

namespace {

using namespace skua;
using api::answer;
using api::current_process;
using api::failed;
using api::is_kernels;

/// The public handle is the number of the process, so that one that has ended is known as such.
skua_process* handle_of(const sockfs::process& p) { return reinterpret_cast<skua_process*>(p.id()); }
std::shared_ptr<sockfs::process> process_of(skua_process* h) {
    api::running* const here = api::running::current();
    return here ? here->processes().find(reinterpret_cast<std::uintptr_t>(h)) : nullptr;
}

/// A descriptor of the kernel takes a number that may have been the stack's.
int kernel_takes(int fd, int to, int flags) {
    const int got = flags < 0 ? dup2(fd, to) : dup3(fd, to, flags);
    if (sockfs::process* const p = current_process(); got >= 0 && p && fd != to) p->files().forget(to);
    return got;
}

}  // namespace

int skua_close(int fd) { return is_kernels(fd) ? close(fd) : answer(current_process()->close(fd)); }

int skua_dup(int fd) { return is_kernels(fd) ? dup(fd) : answer(current_process()->dup(fd)); }

int skua_dup2(int fd, int to) {
    return is_kernels(fd) ? kernel_takes(fd, to, -1) : answer(current_process()->dup2(fd, to));
}

int skua_dup3(int fd, int to, int flags) {
    if (flags < 0) return failed(EINVAL);
    return is_kernels(fd) ? kernel_takes(fd, to, flags) : answer(current_process()->dup3(fd, to, flags));
}

int skua_fcntl(int fd, int command, ...) {
    std::va_list list;
    va_start(list, command);
    // As the kernel's wrapper in libc: one word, whatever it means.
    const long argument = va_arg(list, long);
    va_end(list);
    return is_kernels(fd) ? fcntl(fd, command, argument) : answer(current_process()->fcntl(fd, command, argument));
}

int skua_ioctl(int fd, unsigned long request, ...) {
    std::va_list list;
    va_start(list, request);
    void* const argument = va_arg(list, void*);
    va_end(list);
    return is_kernels(fd) ? ioctl(fd, request, argument)
                          : answer(current_process()->ioctl(fd, request, static_cast<int*>(argument)));
}

int skua_fstat(int fd, struct stat* status) {
    if (is_kernels(fd)) return fstat(fd, status);
    const auto got = current_process()->fstat(fd);
    if (!got) return failed(got.error().code);
    if (status == nullptr) return failed(EFAULT);
    *status = *got;
    return 0;
}

skua_process* skua_process_fork(void) {
    api::running* const here = api::running::current();
    if (here == nullptr) {
        errno = ENETDOWN;
        return nullptr;
    }
    return handle_of(*here->processes().fork(*current_process()));
}

int skua_process_enter(skua_process* process) {
    auto p = process_of(process);
    if (process != nullptr && !p) return failed(ESRCH);
    api::enter_process(std::move(p));
    return 0;
}

int skua_process_exec(skua_process* process) {
    const auto p = process_of(process);
    if (!p) return failed(ESRCH);
    p->exec();
    return 0;
}

int skua_process_exit(skua_process* process) {
    const auto p = process_of(process);
    if (!p || !api::running::current()->processes().exit(*p)) return failed(ESRCH);
    if (current_process() == p.get()) api::enter_process(nullptr);
    return 0;
}

int skua_process_pass(int fd, skua_process* to) {
    api::running* const here = api::running::current();
    if (here == nullptr) return failed(EBADF);
    const auto p = process_of(to);
    if (to != nullptr && !p) return failed(ESRCH);
    return answer(current_process()->pass(fd, p ? *p : here->processes().first()));
}
