// Many objects of one type, close together: no header before each, and large pages beneath when they are many.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/lines.hh"

namespace skua {

/// Not for several threads at once. Memory goes back to the system with the slab only; all that it gave out goes too.
template <class T>
class slab {
    static_assert(std::is_trivially_destructible_v<T>);
    static_assert(sizeof(T) % cache_line == 0 && alignof(T) <= cache_line);

public:
    slab() = default;
    slab(const slab&) = delete;
    slab& operator=(const slab&) = delete;

    template <class... Arguments>
    T* make(Arguments&&... arguments) {
        void* place;
        if (free_ != nullptr) {
            place = free_;
            free_ = free_->next;
        } else {
            if (unused_ == end_) add_chunk();
            place = unused_++;
        }
        return new (place) T(std::forward<Arguments>(arguments)...);
    }
    void free(T* object) { free_ = new (object) hole{free_}; }

private:
    struct hole {
        hole* next;
    };
    static constexpr std::size_t least = 64, most = (4u << 20) / sizeof(T);  // objects in a chunk

    /// A quarter more each time, so that little is idle.
    void add_chunk() {
        const std::size_t n = std::clamp(all_ / 4, least, most);
        chunks_.push_back(allocate_lines(n * sizeof(T)));
        unused_ = static_cast<T*>(chunks_.back().get());
        end_ = unused_ + n;
        all_ += n;
    }

    std::vector<lines> chunks_;
    std::size_t all_ = 0;
    T* unused_ = nullptr;
    T* end_ = nullptr;
    hole* free_ = nullptr;
};

}  // namespace skua
