#pragma once

#include "importer.hpp"

#include <ferry/task.hpp>

namespace demo {

/// Shows an import on stderr until it is cancelled: a bar on a terminal, else a line per phase.
ferry::task<> show_progress(const import_progress& progress);

/// Takes the bar off the terminal again.
void clear_progress();

} // namespace demo
