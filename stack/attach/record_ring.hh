// A ring of datagrams in memory that two sides share and neither trusts: one writer, one reader at a time.
//
// Each side keeps its own position where the other cannot write, and believes of the other's no more than fits:
// garbage there makes a ring full, or broken, never an access beyond it. Records stand in whole cache lines and never
// wrap: what is left at the end is skipped.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/address.hh"

namespace skua::attach {

inline constexpr std::size_t line = 64;

/// What stands in front of each payload.
struct alignas(line) record {
    enum class what : std::uint8_t { datagram = 1, skip = 2 };

    std::uint32_t size = 0;    // bytes of the record with this header, a multiple of a line
    std::uint16_t length = 0;  // of the payload
    what kind = what::datagram;
    std::uint8_t flags = 0;
    std::uint16_t peer_port = 0;  // host order
    std::uint8_t hop_limit = 0;   // of what is sent: if a flag says so, as the traffic class
    std::uint8_t traffic_class = 0;
    ipv4_address answer_from;  // of what was received over IPv4: our address (socket::arrival)
    ip_address peer;           // sender of what was received; destination of what is sent
    ip_address local;          // destination of what was received; source of what is sent, or unspecified
    std::uint32_t ifindex = 0;
    std::uint32_t cost = 0;     // what it takes of the socket's buffer (socket/truesize.hh)
    std::uint64_t time_ns = 0;  // of arrival

    static constexpr std::uint8_t to_connected = 1;  // flag: `peer` is not given
    static constexpr std::uint8_t chosen_hop_limit = 2, chosen_traffic_class = 4;

    static constexpr std::size_t size_for(std::size_t payload) {
        return (sizeof(record) + payload + line - 1) / line * line;
    }
};
static_assert(sizeof(record) == line);

/// Bytes written and read since the beginning; the place is the number modulo the capacity.
struct ring_positions {
    alignas(line) std::atomic<std::uint64_t> written{0};
    alignas(line) std::atomic<std::uint64_t> read{0};
};

class ring_writer {
public:
    /// `bytes`: a power of two, on a line. Goes on where the ring stands: only a ring nobody else wrote to.
    /// `enough`: see set_enough().
    ring_writer(ring_positions& at, std::span<std::byte> bytes, std::size_t enough = SIZE_MAX)
        : at_(at), bytes_(bytes), enough_(enough), written_(at.written.load(std::memory_order_relaxed) / line * line) {}

    /// As many bytes of records as there may ever be at one time. An empty ring that stands behind so many begins anew
    /// at its beginning, so that a reader that keeps up finds everything in few, warm lines; until it has passed what
    /// was skipped, there is room for so many and no more.
    void set_enough(std::size_t bytes) { enough_ = bytes; }

    /// Bytes that the reader has not given back; more than the capacity: it gave garbage.
    std::uint64_t used() const { return written_ - at_.read.load(std::memory_order_acquire); }
    /// All that was written up to this position was read.
    bool passed(std::uint64_t position) const { return used() <= written_ - position; }
    std::uint64_t position() const { return written_; }

    static constexpr std::size_t most_payload = UINT16_MAX;
    /// Room for a payload behind a header that the caller fills but for size and length; nullptr: full, or a record of
    /// more than half the capacity or with more payload than any datagram.
    record* begin(std::size_t payload) {
        const std::uint64_t taken = used();
        const std::size_t size = record::size_for(payload);
        if (payload > most_payload) return nullptr;
        if (taken > bytes_.size() || size > bytes_.size() / 2) return nullptr;
        std::size_t place = written_ % bytes_.size();
        const std::size_t left = bytes_.size() - place;
        const bool anew = taken == 0 && place >= enough_ && size <= place;
        const std::size_t skipped = anew || size > left ? left : 0;
        if (taken + skipped + size > bytes_.size()) return nullptr;
        if (skipped != 0) {
            auto* const skip = new (&bytes_[place]) record;
            skip->size = static_cast<std::uint32_t>(skipped);
            skip->kind = record::what::skip;
            place = 0;
        }
        ready_ = written_ + skipped + size;
        auto* const r = new (&bytes_[place]) record;
        r->size = static_cast<std::uint32_t>(size);
        r->length = static_cast<std::uint16_t>(payload);
        return r;
    }
    static std::byte* payload(record* r) { return reinterpret_cast<std::byte*>(r + 1); }
    /// What begin() gave is complete.
    void end() {
        written_ = ready_;
        at_.written.store(written_, std::memory_order_seq_cst);
    }

private:
    ring_positions& at_;
    const std::span<std::byte> bytes_;
    std::size_t enough_;
    std::uint64_t written_;
    std::uint64_t ready_ = 0;
};

class ring_reader {
public:
    ring_reader(ring_positions& at, std::span<std::byte> bytes)
        : at_(at), bytes_(bytes), read_(at.read.load(std::memory_order_relaxed)) {}

    enum class found : std::uint8_t { nothing, datagram, garbage };
    /// The oldest record, its header copied and checked; the payload lies in the ring, and a hostile writer may still
    /// change it. Garbage: the writer broke the rules, and nothing more will come out.
    found front(record& header, std::span<const std::byte>& payload) {
        for (bool skipped = false;; skipped = true) {
            const std::uint64_t there = at_.written.load(std::memory_order_seq_cst) - read_;
            if (there == 0) return found::nothing;
            const std::size_t place = read_ % bytes_.size();
            if (there > bytes_.size() || there % line != 0 || place % line != 0) return found::garbage;
            std::memcpy(static_cast<void*>(&header), &bytes_[place], sizeof header);
            // The compiler might read the ring again for what was just copied: after the check it may say otherwise.
            std::atomic_signal_fence(std::memory_order_seq_cst);
            if (header.size < sizeof header || header.size % line != 0 ||
                header.size > std::min<std::uint64_t>(there, bytes_.size() - place))
                return found::garbage;
            if (header.kind == record::what::skip) {
                // To the end of the ring, once: a writer could else keep us here as long as it likes.
                if (skipped || place + header.size != bytes_.size()) return found::garbage;
                read_ += header.size;
                continue;
            }
            if (header.kind != record::what::datagram || header.length > header.size - sizeof header)
                return found::garbage;
            payload = bytes_.subspan(place + sizeof header, header.length);
            return found::datagram;
        }
    }
    bool empty() const { return at_.written.load(std::memory_order_seq_cst) == read_; }
    /// To the next one, without a word to the writer.
    void skip(const record& header) { read_ += header.size; }
    /// Done with what front() gave.
    void pop(const record& header) {
        read_ += header.size;
        at_.read.store(read_, std::memory_order_seq_cst);
    }

private:
    ring_positions& at_;
    const std::span<std::byte> bytes_;
    std::uint64_t read_;
};

}  // namespace skua::attach
