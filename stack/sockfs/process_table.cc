// Birth and end of stack processes.
#include "sockfs/process_table.hh"

#include <sys/resource.h>

#include <algorithm>

namespace skua::sockfs {

namespace {

int descriptor_limit() {
    rlimit l{};
    getrlimit(RLIMIT_NOFILE, &l);
    return static_cast<int>(std::min<rlim_t>(l.rlim_cur, 1 << 20));
}

}  // namespace

process_table::process_table(nanoseconds spin) : spin_(spin) {
    (void)types_.register_type("sockfs");
    sockfs_ = types_.mount("sockfs").value();
    first_ = std::make_shared<process>(processes_.next_number(), std::make_unique<kernel_numbers>(), true, spin_);
    processes_.add(first_->id(), first_);
}

process_table::~process_table() {
    for (const auto& p : all()) p->close_all();
}

std::shared_ptr<process> process_table::make() {
    auto p = std::make_shared<process>(processes_.next_number(), std::make_unique<own_numbers>(descriptor_limit()),
                                       false, spin_);
    processes_.add(p->id(), p);
    return p;
}

std::shared_ptr<process> process_table::fork(const process& parent) {
    auto child = make();
    child->files().copy(parent.files().entries());
    return child;
}

bool process_table::exit(process& p) {
    const auto kept = processes_.find(p.id());  // the table may be the last to hold it
    if (&p == first_.get() || !processes_.remove(p.id())) return false;
    p.close_all();
    return true;
}

std::vector<std::shared_ptr<process>> process_table::all() const {
    std::vector<std::shared_ptr<process>> out;
    for (auto& [id, p] : processes_.all()) out.push_back(p);
    return out;
}

}  // namespace skua::sockfs
