// A thread for each user who has something to be closed.
#include "attach/undertaker.hh"

#include <unistd.h>

#include <system_error>
#include <thread>

namespace skua::attach {

void undertaker::bury(uid_t user, int fd) {
    bury(user, [fd] { close(fd); });
}

void undertaker::bury(uid_t user, std::function<void()> work) {
    {
        const std::lock_guard hold(all_->lock);
        const auto [at, fresh] = all_->of.try_emplace(user);
        at->second.push_back(std::move(work));
        if (!fresh) return;
    }
    try {
        std::thread(dig, all_, user).detach();
    } catch (const std::system_error&) {
        dig(all_, user);  // no thread is to be had: now, whatever it takes
    }
}

void undertaker::dig(const std::shared_ptr<graves>& all, uid_t user) {
    for (;;) {
        std::function<void()> work;
        {
            const std::lock_guard hold(all->lock);
            auto& mine = all->of.at(user);
            if (mine.empty()) {
                all->of.erase(user);
                return;
            }
            work = std::move(mine.front());
            mine.pop_front();
        }
        work();
    }
}

}  // namespace skua::attach
