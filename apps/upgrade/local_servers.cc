// Instances of the server in this process.
#include <list>
#include <map>

#include "upgrade/servers.hh"

namespace skua::upgrade {

namespace {

class local_servers final : public servers {
public:
    local_servers(const calls& c, const server_options& o) : calls_(c), options_(o) {}

    void start(std::uint32_t generation) override { instances_[generation]; }
    void join(std::uint32_t generation, std::uint32_t number) override {
        instances_.at(generation).emplace_back(calls_, options_, number, generation);
    }
    void close(std::uint32_t generation, std::uint32_t number) override {
        instances_.at(generation).remove_if([&](const member& m) {
            if (m.number() != number) return false;
            begun_when_old_ += m.begun_when_old();
            return true;
        });
    }
    void switch_to(std::uint32_t generation) override {
        working_ = generation;
        if (options_.generations) instances_.at(generation).front().work();
    }
    bool drained(std::uint32_t generation) override {
        for (const member& m : instances_.at(generation))
            if (!m.drained()) return false;
        return true;
    }
    void leave(std::uint32_t generation) override {
        for (const member& m : instances_.at(generation)) begun_when_old_ += m.begun_when_old();
        instances_.erase(generation);
    }
    void kill(std::uint32_t generation) override { leave(generation); }
    unsigned serve() override {
        unsigned n = 0;
        for (auto& [generation, members] : instances_)
            for (member& m : members) n += m.serve(working_, random_);
        return n;
    }
    std::uint64_t begun_when_old() override {
        std::uint64_t n = begun_when_old_;
        for (const auto& [generation, members] : instances_)
            for (const member& m : members) n += m.begun_when_old();
        return n;
    }

private:
    const calls& calls_;
    const server_options options_;
    std::map<std::uint32_t, std::list<member>> instances_;  // by generation
    std::uint32_t working_ = 0;
    std::uint64_t begun_when_old_ = 0;  // by members that have gone
    std::mt19937_64 random_{2};
};

}  // namespace

std::unique_ptr<servers> make_local_servers(const calls& c, const server_options& o) {
    return std::make_unique<local_servers>(c, o);
}

}  // namespace skua::upgrade
