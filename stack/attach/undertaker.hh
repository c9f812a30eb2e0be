// Ends what belongs to other processes. That can take time, or as long as they like: a close waits for a lingering TCP
// connection or a file system in user space, and memory is given back page by page. Whose it is waits for it alone.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

namespace skua::attach {

class undertaker {
public:
    /// One thread at a time for each user, as long as there is something to do. Nothing may be thrown.
    void bury(uid_t user, std::function<void()> work);
    /// Closes a descriptor.
    void bury(uid_t user, int fd);

private:
    struct graves {
        std::mutex lock;
        std::map<uid_t, std::deque<std::function<void()>>> of;  // a user without a thread has no entry
    };
    static void dig(const std::shared_ptr<graves>& all, uid_t user);
    // The threads that still wait when this goes end with the process.
    const std::shared_ptr<graves> all_ = std::make_shared<graves>();
};

}  // namespace skua::attach
