// The keeper's process: what a daemon gave it, the next one gets.
#include "attach/keeper.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <thread>

namespace skua::attach {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class keeper_test : public testing::Test {
protected:
    std::string path;
    std::filesystem::path directory;
    std::vector<kept> left;
    std::unique_ptr<keeper> daemon;

    void SetUp() override {
        char name[] = "/tmp/skua-keeper-XXXXXX";
        directory = mkdtemp(name);
        path = directory / "keeper";
        start();
        ASSERT_TRUE(daemon);
        ASSERT_TRUE(left.empty());
    }
    void TearDown() override {
        daemon.reset();
        for (auto& k : left) close(k.fd);
        std::error_code left_alone;  // the keeper may be taking its own path away
        std::filesystem::remove_all(directory, left_alone);
    }
    void start(std::chrono::seconds patience = 1s) {
        auto found = keeper::find(path, patience, left);
        if (found) daemon = std::move(*found);
        else ADD_FAILURE() << found.error();
    }
    bool goes_within(std::chrono::milliseconds time) {
        const auto until = std::chrono::steady_clock::now() + time;
        while (std::filesystem::exists(path) && std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(5ms);
        return !std::filesystem::exists(path);
    }
    /// One end, whose other end tells what is written into it.
    struct pair {
        int kept = -1, other = -1;
        pair() {
            int ends[2];
            if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0) kept = ends[0], other = ends[1];
        }
        ~pair() {
            close(kept);
            close(other);
        }
    };
    /// What was left under a name, known by what is written into it.
    bool is(int fd, const pair& p) {
        char text[8] = {};
        return send(fd, "hello", 5, 0) == 5 && recv(p.other, text, sizeof text, MSG_DONTWAIT) == 5;
    }
};

TEST_F(keeper_test, the_next_daemon_gets_what_was_kept) {
    const pair a, b, c;
    const int both[] = {a.kept, b.kept};
    ASSERT_TRUE(daemon->keep("ab", both));
    ASSERT_TRUE(daemon->keep("c", std::span(&c.kept, 1)));
    daemon.reset();
    start();
    ASSERT_EQ(left.size(), 3u);
    EXPECT_EQ(left[0].name, "ab");
    EXPECT_EQ(left[1].name, "ab");
    EXPECT_EQ(left[2].name, "c");
    EXPECT_TRUE(is(left[0].fd, a));
    EXPECT_TRUE(is(left[1].fd, b));
    EXPECT_TRUE(is(left[2].fd, c));
    // And the one after that too.
    daemon.reset();
    for (auto& k : left) close(k.fd);
    left.clear();
    start();
    EXPECT_EQ(left.size(), 3u);
}

TEST_F(keeper_test, what_was_dropped_is_closed) {
    const pair a, b;
    ASSERT_TRUE(daemon->keep("a", std::span(&a.kept, 1)));
    ASSERT_TRUE(daemon->keep("b", std::span(&b.kept, 1)));
    daemon->drop("a");
    daemon->drop("nobody");
    daemon.reset();
    start();
    ASSERT_EQ(left.size(), 1u);
    EXPECT_EQ(left[0].name, "b");
}

TEST_F(keeper_test, it_goes_when_nothing_is_kept) {
    daemon.reset();
    EXPECT_TRUE(goes_within(500ms));
}

TEST_F(keeper_test, it_goes_when_nobody_comes_in_time) {
    const pair a;
    ASSERT_TRUE(daemon->keep("a", std::span(&a.kept, 1)));
    daemon.reset();
    EXPECT_FALSE(goes_within(300ms));
    EXPECT_TRUE(goes_within(3s));
}

TEST_F(keeper_test, it_does_not_hold_what_its_daemon_had_open) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    daemon.reset();
    ASSERT_TRUE(goes_within(500ms));
    start();
    close(ends[1]);
    char c;
    EXPECT_EQ(read(ends[0], &c, 1), 0);  // the end of the pipe: nobody else holds it
    close(ends[0]);
}

TEST_F(keeper_test, two_daemons_at_once_are_refused) {
    std::vector<kept> none;
    const auto second = keeper::find(path, 1s, none);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error(), HasSubstr("another daemon"));
}

TEST_F(keeper_test, a_path_that_cannot_be_is_told) {
    std::vector<kept> none;
    EXPECT_THAT(keeper::find("/nowhere/at/all", 1s, none).error(), HasSubstr("/nowhere/at/all"));
    EXPECT_THAT(keeper::find(std::string(200, 'x'), 1s, none).error(), HasSubstr("too long"));
}

}  // namespace
}  // namespace skua::attach
