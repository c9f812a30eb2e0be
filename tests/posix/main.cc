// main() of the POSIX tests, on either side.
#include "posix/posix.hh"

namespace {

/// A call that never returns ends the program, by SIGALRM: the last test begun is the one.
class alarm_clock : public testing::EmptyTestEventListener {
    void OnTestStart(const testing::TestInfo&) override { alarm(3 * skua::test::patience_ms / 1000); }
};

}  // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    testing::UnitTest::GetInstance()->listeners().Append(new alarm_clock);
    if (!skua::test::start_side(argv[0])) return 2;
    const int failed = RUN_ALL_TESTS();
    alarm(0);
    skua::test::stop_side();
    return failed;
}
