// The errno of every ICMP error, against the kernel's tables.
#include "net/icmp_quote.hh"

#include <gtest/gtest.h>

#include <cerrno>

namespace skua::net {
namespace {

struct row {
    std::uint8_t type;
    std::uint8_t code;
    int error;
    bool fatal;
};

TEST(icmp_quote, icmp4_errors_are_the_kernels) {
    for (const row& r :
         {row{3, 0, ENETUNREACH, false}, row{3, 1, EHOSTUNREACH, false}, row{3, 2, ENOPROTOOPT, true},
          row{3, 3, ECONNREFUSED, true}, row{3, 4, EMSGSIZE, true}, row{3, 5, EOPNOTSUPP, false},
          row{3, 6, ENETUNREACH, true}, row{3, 7, EHOSTDOWN, true}, row{3, 8, ENONET, true},
          row{3, 9, ENETUNREACH, true}, row{3, 10, EHOSTUNREACH, true}, row{3, 11, ENETUNREACH, false},
          row{3, 12, EHOSTUNREACH, false}, row{3, 13, EHOSTUNREACH, true}, row{3, 14, EHOSTUNREACH, true},
          row{3, 15, EHOSTUNREACH, true}, row{11, 0, EHOSTUNREACH, false}, row{12, 0, EPROTO, true}}) {
        icmp_report out;
        out.type = r.type;
        out.code = r.code;
        EXPECT_TRUE(convert_icmp4_error(out));
        EXPECT_EQ(out.error, r.error) << int(r.type) << "/" << int(r.code);
        EXPECT_EQ(out.fatal, r.fatal) << int(r.type) << "/" << int(r.code);
    }
    icmp_report out;
    out.type = 3;
    out.code = 16;
    EXPECT_FALSE(convert_icmp4_error(out));
}

TEST(icmp_quote, icmp6_errors_are_the_kernels) {
    for (const row& r : {row{1, 0, ENETUNREACH, false}, row{1, 1, EACCES, true}, row{1, 2, EHOSTUNREACH, false},
                         row{1, 3, EHOSTUNREACH, false}, row{1, 4, ECONNREFUSED, true}, row{1, 5, EACCES, true},
                         row{1, 6, EACCES, true}, row{1, 7, EPROTO, true}, row{2, 0, EMSGSIZE, true},
                         row{3, 1, EHOSTUNREACH, false}, row{4, 0, EPROTO, true}, row{100, 0, EPROTO, false}}) {
        icmp_report out;
        out.type = r.type;
        out.code = r.code;
        convert_icmp6_error(out);
        EXPECT_EQ(out.error, r.error) << int(r.type) << "/" << int(r.code);
        EXPECT_EQ(out.fatal, r.fatal) << int(r.type) << "/" << int(r.code);
    }
}

}  // namespace
}  // namespace skua::net
