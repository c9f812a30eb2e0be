// A socket whose holders are in other processes: what arrives goes into its region, what they wrote there goes out.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "attach/region.hh"
#include "attach/socket_page.hh"
#include "shard/shard.hh"
#include "socket/udp_socket.hh"

namespace skua::attach {

class attached_socket final : public socket::receiver {
public:
    /// Sizes of the rings in a region, which its holders cannot be asked for again.
    struct layout {
        std::uint64_t rx = 0, tx = 0;
        bool fits(const region& memory) const;
    };
    /// `bell`: the daemon's end of the descriptor's pair; taken over, as the region is.
    attached_socket(std::uint64_t id, int domain, socket::udp_socket_ptr s, region memory, const layout& rings,
                    int bell);
    ~attached_socket();
    attached_socket(const attached_socket&) = delete;
    attached_socket& operator=(const attached_socket&) = delete;

    /// Of the region of a socket whose buffers may grow to so many bytes.
    static std::size_t region_size(std::uint32_t largest_receive, std::uint32_t largest_send);
    /// Makes a region a socket's.
    static void lay_out(const region& memory, std::uint32_t largest_receive, std::uint32_t largest_send);
    /// Of a region that nobody else has seen yet.
    static layout layout_of(const region& memory);

    std::uint64_t id() const { return id_; }
    int bell() const { return bell_; }
    int memory() const { return region_.fd(); }
    std::uint16_t home() const { return home_; }
    socket::udp_socket& socket() { return *socket_; }
    /// Its holders hear of this daemon, the `incarnation`th, and of what happened before it.
    void begin_serving(std::uint32_t incarnation);
    /// After a call that may have changed names, options or routes.
    void changed();
    /// After a call that may have given it a port.
    void note_bound() { bound_ = socket_->local_endpoint().port != 0; }
    std::uint32_t changes() const { return page_.changes.load(); }
    /// Ends both ways, at once for sleepers: shutdown(2).
    void shut(std::uint32_t ways);
    /// No more datagrams; the handle of the socket is given up.
    void close_socket() { socket_.reset(); }
    /// The last descriptor is gone, as far as the bell tells.
    bool abandoned() const;
    /// A holder polls, or was told something that may be old: the descriptor shows how things are.
    void remind();
    /// Everything its holders have written was taken out, or they say so.
    bool drained() const;
    /// The home shard: its holders have written what was not taken out.
    bool more() const { return !broken_.load(std::memory_order_relaxed) && !tx_.empty(); }
    /// Bytes of the region that the daemon may come to write or read, as its buffers are now.
    std::uint64_t memory_in_use() const;

    // ---- the home shard ----
    void on_datagrams(socket::udp_socket& s, std::span<socket::received> datagrams) override;
    bool on_error(socket::udp_socket& s, int error) override;
    /// Sends up to `most` datagrams; how many. More may be there if it is `most`.
    unsigned transmit(shard::shard& on, unsigned most);
    /// The holders must announce anew what they write from here on.
    void announced() { page_.tx_announced.store(0, std::memory_order_seq_cst); }

private:
    bool put(const socket::received& d);
    void wake(unsigned accepted, bool was_read);
    void ring(unsigned bytes);
    void ring_error();
    bool has_room() const;
    void show_room();

    const std::uint64_t id_;
    const region region_;
    socket_page& page_;
    const int bell_;
    const std::uint16_t home_;
    socket::udp_socket_ptr socket_;
    ring_writer rx_;
    ring_reader tx_;
    std::uint64_t charged_ = 0;        // cost of all that was put into rx_
    std::uint32_t shut_ = 0;           // ways, as in socket_page::shutdown
    std::atomic<bool> broken_{false};  // its holders wrote garbage: nothing goes out any more
    std::atomic<bool> bound_{false};
};

}  // namespace skua::attach
