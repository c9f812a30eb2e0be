// One process for each generation; for two, once it has the sockets of the one before.
#include "upgrade/process_servers.hh"

#include <map>

#include "upgrade/server_process.hh"

namespace skua::upgrade {

namespace {

class process_servers final : public servers {
public:
    process_servers(const server_options& o, std::uint32_t stored) : options_(o), stored_generation_(stored) {}

    void start(std::uint32_t generation) override {
        if (generation != 0 && generation == stored_generation_) return restart(generation);
        processes_[generation] = std::make_shared<server_process>(store_);
    }
    void join(std::uint32_t generation, std::uint32_t member) override { tell(order::what::join, generation, member); }
    void close(std::uint32_t generation, std::uint32_t member) override {
        tell(order::what::close, generation, member);
        settle();
    }
    void switch_to(std::uint32_t generation) override {
        working_ = generation;
        for (const auto& [g, process] : processes_) tell(order::what::look, g);
        if (options_.generations) tell(order::what::work, generation);
    }
    bool drained(std::uint32_t generation) override { return tell(order::what::look, generation).drained != 0; }
    void leave(std::uint32_t generation) override {
        const auto said = tell(order::what::leave, generation);
        const auto process = processes_.extract(generation).mapped();
        if (serves_another(*process)) return;
        begun_when_old_ += said.begun_when_old;
        process->expect_end();
    }
    void kill(std::uint32_t generation) override {
        begun_when_old_ += tell(order::what::look, generation).begun_when_old;
        processes_.extract(generation).mapped()->kill();
        settle();
    }
    std::uint64_t begun_when_old() override {
        std::uint64_t n = begun_when_old_;
        const server_process* last = nullptr;  // those of one process are neighbours
        for (const auto& [generation, process] : processes_)
            if (process.get() != std::exchange(last, process.get()))
                n += tell(order::what::look, generation).begun_when_old;
        return n;
    }

private:
    order_answer tell(enum order::what what, std::uint32_t generation, std::uint32_t member = 0) {
        return processes_.at(generation)->tell({what, generation, member, working_, options_});
    }
    bool serves_another(const server_process& p) const {
        for (const auto& [generation, process] : processes_)
            if (process.get() == &p) return true;
        return false;
    }
    /// The daemon hears of what was closed before it answers who asks later. It waits for its shards, which may still
    /// see it, but not for long at a time: on a busy machine they may need some more.
    void settle() {
        for (int i = 0; i < 20; i++) tell(order::what::look, processes_.rbegin()->first);
    }
    /// The old program ends, and the next one goes on with its sockets and flows beside its own.
    void restart(std::uint32_t generation) {
        auto& old = processes_.at(generation - 1);
        begun_when_old_ += tell(order::what::hand_over, generation - 1).begun_when_old;
        old->expect_end();
        old = std::make_shared<server_process>(store_);
        processes_[generation] = old;
    }

    const server_options options_;
    const std::uint32_t stored_generation_;
    descriptor_store store_;
    std::map<std::uint32_t, std::shared_ptr<server_process>> processes_;  // by generation
    std::uint32_t working_ = 0;
    std::uint64_t begun_when_old_ = 0;  // in processes that have ended
};

}  // namespace

std::unique_ptr<servers> make_process_servers(const server_options& o, std::uint32_t stored_generation) {
    return std::make_unique<process_servers>(o, stored_generation);
}

}  // namespace skua::upgrade
