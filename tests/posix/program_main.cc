// main() of the POSIX tests of whole programs: also the program that they start, which answers on a descriptor.
#include <cstdlib>
#include <cstring>

#include "posix/program.hh"

namespace {

using namespace skua::test;

/// A call that never returns ends the program, by SIGALRM: the last test begun is the one.
class alarm_clock : public testing::EmptyTestEventListener {
    void OnTestStart(const testing::TestInfo&) override { alarm(3 * patience_ms / 1000); }
};

/// What comes over a UNIX socket with SCM_RIGHTS.
int passed_over(int channel) {
    char byte;
    iovec part{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    int fd = -1;
    if (recvmsg(channel, &m, 0) == 1 && CMSG_FIRSTHDR(&m) != nullptr)
        std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    return fd;
}

}  // namespace

int main(int argc, char** argv) {
    alarm(3 * patience_ms / 1000);
    if (argc == 3 && std::strcmp(argv[1], "answer-one") == 0) return answer_one(std::atoi(argv[2])) ? 0 : 1;
    if (argc == 3 && std::strcmp(argv[1], "answer-passed") == 0)
        return answer_one(passed_over(std::atoi(argv[2]))) ? 0 : 1;
    testing::InitGoogleTest(&argc, argv);
    testing::UnitTest::GetInstance()->listeners().Append(new alarm_clock);
    const int failed = RUN_ALL_TESTS();
    alarm(0);
    return failed;
}
