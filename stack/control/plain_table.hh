// Tables for terminals: columns as wide as their widest cell, numbers to the right.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace skua::control {

class plain_table {
public:
    explicit plain_table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
    /// Cells beyond the header's number are not shown; missing ones are empty.
    void add(std::vector<std::string> row) {
        row.resize(rows_[0].size());
        rows_.push_back(std::move(row));
    }
    /// Header and rows, each ending in a newline, without spaces at the ends of lines. Empty if there are no rows.
    std::string text() const {
        if (rows_.size() == 1) return "";
        std::string out;
        for (const auto& row : rows_) {
            std::string line;
            for (std::size_t i = 0; i < row.size(); i++)
                line += is_number(i) ? fmt::format("{}{:>{}}", i ? "  " : "", row[i], width(i))
                                     : fmt::format("{}{:<{}}", i ? "  " : "", row[i], width(i));
            line.erase(line.find_last_not_of(' ') + 1);
            out += line + '\n';
        }
        return out;
    }

private:
    std::size_t width(std::size_t column) const {
        std::size_t most = 0;
        for (const auto& row : rows_) most = std::max(most, row[column].size());
        return most;
    }
    bool is_number(std::size_t column) const {
        return std::all_of(rows_.begin() + 1, rows_.end(), [&](const auto& row) {
            return !row[column].empty() && row[column].find_first_not_of("0123456789") == std::string::npos;
        });
    }
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace skua::control
