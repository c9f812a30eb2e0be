// Rings of records: order, wrapping, fullness, and a side that writes garbage.
#include "attach/record_ring.hh"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "base/random.hh"

namespace skua::attach {
namespace {

class ring_test : public testing::Test {
protected:
    bool write(std::string_view text, std::uint16_t port = 0) {
        record* const r = writer.begin(text.size());
        if (r == nullptr) return false;
        r->peer_port = port;
        std::memcpy(ring_writer::payload(r), text.data(), text.size());
        writer.end();
        return true;
    }
    std::string read() {
        record header;
        std::span<const std::byte> payload;
        switch (reader.front(header, payload)) {
            case ring_reader::found::nothing: return "nothing";
            case ring_reader::found::garbage: return "garbage";
            default: break;
        }
        std::string out(reinterpret_cast<const char*>(payload.data()), payload.size());
        reader.pop(header);
        return out;
    }
    record& at(std::size_t place) { return *reinterpret_cast<record*>(&bytes[place]); }

    static constexpr std::size_t capacity = 1024;
    alignas(line) std::array<std::byte, line> before{};
    std::array<std::byte, capacity> bytes{};
    std::array<std::byte, capacity> after{};
    ring_positions positions;
    ring_writer writer{positions, bytes};
    ring_reader reader{positions, bytes};
};

TEST_F(ring_test, gives_back_what_was_put_in) {
    EXPECT_EQ(read(), "nothing");
    ASSERT_TRUE(write("one"));
    ASSERT_TRUE(write(""));
    ASSERT_TRUE(write(std::string(200, 'x')));
    EXPECT_EQ(read(), "one");
    EXPECT_EQ(read(), "");
    EXPECT_EQ(read(), std::string(200, 'x'));
    EXPECT_EQ(read(), "nothing");
}

TEST_F(ring_test, is_full_when_no_record_fits_in_one_piece) {
    for (int i = 0; i < 8; i++) ASSERT_TRUE(write(std::string(64, 'a')));  // 8 × 128
    EXPECT_FALSE(write(""));
    EXPECT_EQ(read(), std::string(64, 'a'));
    EXPECT_FALSE(write(std::string(65, 'b')));
    EXPECT_TRUE(write(std::string(64, 'b')));
    EXPECT_FALSE(write(""));
}

TEST_F(ring_test, an_empty_ring_takes_half_of_itself_wherever_it_stands) {
    const std::string half(capacity / 2 - line, 'y');
    for (std::size_t place = 0; place < capacity; place += line) {
        positions.written = positions.read = place;
        ring_writer w(positions, bytes);
        ring_reader r(positions, bytes);
        EXPECT_EQ(w.begin(half.size() + 1), nullptr);
        record* const one = w.begin(half.size());
        ASSERT_NE(one, nullptr) << place;
        std::memcpy(ring_writer::payload(one), half.data(), half.size());
        w.end();
        record header;
        std::span<const std::byte> payload;
        ASSERT_EQ(r.front(header, payload), ring_reader::found::datagram);
        EXPECT_EQ(std::string(reinterpret_cast<const char*>(payload.data()), payload.size()), half);
    }
}

TEST_F(ring_test, an_empty_ring_that_stands_behind_enough_begins_anew) {
    constexpr std::size_t enough = 4 * line;
    writer.set_enough(enough);
    for (int i = 0; i < 1000; i++) {
        ASSERT_TRUE(write("warm"));
        EXPECT_LE(writer.position() % capacity, enough + 2 * line);
        // Whatever was skipped, there is room for enough.
        ASSERT_TRUE(write("more"));
        ASSERT_EQ(read(), "warm");
        ASSERT_EQ(read(), "more");
    }
}

TEST_F(ring_test, random_traffic_keeps_order_and_bytes) {
    seeded_random random{3};
    std::deque<std::string> expected;
    unsigned refused = 0, passed = 0;
    for (int i = 0; i < 200000; i++) {
        if (random.next() % 2) {
            const std::string text(random.next() % 300, static_cast<char>('a' + i % 26));
            if (write(text)) expected.push_back(text);
            else refused++;
        } else if (!expected.empty()) {
            ASSERT_EQ(read(), expected.front());
            expected.pop_front();
            passed++;
        } else {
            ASSERT_EQ(read(), "nothing");
        }
    }
    EXPECT_GT(refused, 100u);
    EXPECT_GT(passed, 10000u);
}

TEST_F(ring_test, two_threads) {
    constexpr std::uint32_t all = 200000;
    std::thread producer([&] {
        for (std::uint32_t i = 0; i < all;) {
            record* const r = writer.begin(sizeof i + i % 90);
            if (r == nullptr) {
                std::this_thread::yield();
                continue;
            }
            std::memcpy(ring_writer::payload(r), &i, sizeof i);
            writer.end();
            i++;
        }
    });
    for (std::uint32_t i = 0; i < all;) {
        record header;
        std::span<const std::byte> payload;
        const auto found = reader.front(header, payload);
        if (found == ring_reader::found::nothing) {
            std::this_thread::yield();
            continue;
        }
        ASSERT_EQ(found, ring_reader::found::datagram);
        ASSERT_EQ(payload.size(), sizeof i + i % 90);
        std::uint32_t got = 0;
        std::memcpy(&got, payload.data(), sizeof got);
        ASSERT_EQ(got, i);
        reader.pop(header);
        i++;
    }
    producer.join();
}

TEST_F(ring_test, a_reader_that_gives_garbage_hurts_itself_only) {
    ASSERT_TRUE(write("x"));
    for (const std::uint64_t read :
         std::array<std::uint64_t, 3>{1ull << 40, 0ull - capacity - 1, writer.position() + 1}) {
        positions.read = read;
        EXPECT_FALSE(write("y")) << "more in use than there is: full";
    }
    // Plausible numbers make it overwrite what was not read, and nothing else.
    seeded_random random{5};
    for (int i = 0; i < 100000; i++) {
        positions.read = writer.position() - random.next() % (2 * capacity);
        write(std::string(random.next() % capacity, 'z'));
    }
    for (const std::byte b : before) ASSERT_EQ(b, std::byte(0));
    for (const std::byte b : after) ASSERT_EQ(b, std::byte(0));
}

TEST_F(ring_test, a_writer_that_gives_garbage_breaks_its_ring_only) {
    const auto broken = [&](auto&& spoil) {
        positions.written = 0;
        positions.read = 0;
        ring_writer fresh(positions, bytes);
        record* const r = fresh.begin(10);
        fresh.end();
        spoil(*r);
        ring_reader other(positions, bytes);
        record header;
        std::span<const std::byte> payload;
        return other.front(header, payload) == ring_reader::found::garbage;
    };
    EXPECT_FALSE(broken([](record&) {}));
    EXPECT_TRUE(broken([](record& r) { r.size = 0; }));
    EXPECT_TRUE(broken([](record& r) { r.size = 63; }));
    EXPECT_TRUE(broken([](record& r) { r.size = 65; }));
    EXPECT_TRUE(broken([](record& r) { r.size = 192; })) << "more than was written";
    EXPECT_TRUE(broken([](record& r) { r.size = ~0u; }));
    EXPECT_TRUE(broken([](record& r) { r.length = 65; })) << "more than the record";
    EXPECT_TRUE(broken([](record& r) { r.length = UINT16_MAX; }));
    EXPECT_TRUE(broken([](record& r) { r.kind = record::what(7); }));
    EXPECT_TRUE(broken([&](record&) { positions.written = 100; }));
    EXPECT_TRUE(broken([&](record&) { positions.written = capacity + line; }));
    EXPECT_TRUE(broken([&](record&) { positions.written = ~0ull; }));
    EXPECT_TRUE(broken([](record& r) { r.kind = record::what::skip, r.size = 0; })) << "it would never end";
}

}  // namespace
}  // namespace skua::attach
