// The ledger: what is kept, what a later word replaces, and that the next daemon finds it.
#include "attach/ledger.hh"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace skua::attach {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text(const ledger::note& n) { return {reinterpret_cast<const char*>(n.value.data()), n.value.size()}; }

class ledger_test : public testing::Test {
protected:
    ledger book = *ledger::make();

    void add(std::uint64_t id) { ASSERT_TRUE(book.add({id, 100 + id, 1000, 2, 2, 17, 1, 2})); }
    void option(std::uint64_t id, int name, std::string_view value) {
        ASSERT_TRUE(book.tell(id, request::set_option, 1, name, bytes(value)));
    }
    std::vector<std::string> notes_of(std::uint64_t id, const ledger& in) {
        std::vector<std::string> said;
        for (const auto& e : in.entries())
            if (e.of.id == id)
                for (const auto& n : e.notes) said.push_back((n.what == request::bind ? "bind " : "") + text(n));
        return said;
    }
    std::vector<std::string> notes_of(std::uint64_t id) { return notes_of(id, book); }
    /// As a daemon that starts after this one.
    ledger next() { return *ledger::take_over(fcntl(book.fd(), F_DUPFD_CLOEXEC, 0)); }
};

using words = std::vector<std::string>;

TEST_F(ledger_test, the_next_daemon_finds_the_sockets_and_what_they_were_told) {
    add(7);
    add(3);
    option(7, 15, "on");
    ASSERT_TRUE(book.tell(7, request::bind, 0, 0, bytes("here")));
    ledger after = next();
    EXPECT_EQ(after.incarnation(), 2u);
    EXPECT_EQ(after.last_id(), 7u);
    const auto all = after.entries();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].of.id, 3u);
    EXPECT_EQ(all[1].of.id, 7u);
    EXPECT_EQ(all[1].of.cookie, 107u);
    EXPECT_EQ(all[1].of.user, 1000u);
    EXPECT_EQ(all[1].of.protocol, 17);
    EXPECT_EQ(all[1].of.tx_bytes, 2u);
    EXPECT_EQ(notes_of(7, after), (words{"on", "bind here"}));
    ASSERT_TRUE(after.tell(3, request::set_option, 1, 2, bytes("x")));
    EXPECT_EQ(notes_of(3, after), words{"x"});
}

TEST_F(ledger_test, a_later_word_on_the_same_replaces_the_earlier) {
    add(1);
    option(1, 8, "a");
    option(1, 9, "b");
    option(1, 8, "c");
    EXPECT_EQ(notes_of(1), (words{"b", "c"}));
}

TEST_F(ledger_test, what_was_so_before_the_bind_stays_before_it) {
    add(1);
    option(1, 15, "on");
    ASSERT_TRUE(book.tell(1, request::bind, 0, 0, bytes("p")));
    option(1, 15, "off");
    option(1, 15, "on again");
    EXPECT_EQ(notes_of(1), (words{"on", "bind p", "on again"}));
}

TEST_F(ledger_test, orders_are_of_all_sockets) {
    add(1);
    add(2);
    option(2, 1, "first");
    option(1, 1, "second");
    const auto all = book.entries();
    EXPECT_LT(all[1].notes[0].order, all[0].notes[0].order);
}

TEST_F(ledger_test, a_request_is_taken_back) {
    add(1);
    ASSERT_TRUE(book.tell(1, request::connect, 0, 0, bytes("peer")));
    option(1, 1, "x");
    book.untell(1, request::connect);
    EXPECT_EQ(notes_of(1), words{"x"});
}

TEST_F(ledger_test, of_sockets_that_are_gone_nothing_stays) {
    add(1);
    option(1, 1, "x");
    book.remove(1);
    EXPECT_TRUE(book.entries().empty());
    option(1, 1, "too late");
    add(1);
    EXPECT_TRUE(notes_of(1).empty());
}

TEST_F(ledger_test, a_note_longer_than_a_place_is_refused_and_hurts_nothing) {
    add(1);
    option(1, 1, "x");
    const std::string longest(1 << 16, 'p'), more(1 << 15, 'q');
    option(1, 2, longest);
    const auto refused = book.tell(1, request::set_option, 1, 3, bytes(more + more));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ENOSPC);
    EXPECT_EQ(notes_of(1), (words{"x", longest}));
}

TEST_F(ledger_test, more_sockets_than_places_are_refused) {
    for (std::uint64_t id = 1; id <= ledger::places; id++) ASSERT_TRUE(book.add({id, id, 0, 2, 2, 17, 1, 1}));
    EXPECT_EQ(book.add({ledger::places + 1, 1, 0, 2, 2, 17, 1, 1}).error().code, ENOSPC);
    book.remove(5);
    EXPECT_TRUE(book.add({ledger::places + 1, 1, 0, 2, 2, 17, 1, 1}));
}

TEST_F(ledger_test, no_other_memory_is_taken_for_one) {
    EXPECT_EQ(ledger::take_over(memfd_create("x", MFD_CLOEXEC)).error().code, EINVAL);
    auto blank = region::make("x", static_cast<std::size_t>(lseek(book.fd(), 0, SEEK_END)));
    ASSERT_TRUE(blank);
    EXPECT_EQ(ledger::take_over(fcntl(blank->fd(), F_DUPFD_CLOEXEC, 0)).error().code, EINVAL);
}

}  // namespace
}  // namespace skua::attach
