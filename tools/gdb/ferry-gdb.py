"""For gdb: the tasks of a process that uses ferry, live or from a core file.

    (gdb) source ferry-gdb.py
    (gdb) ferry-tasks

prints what ferry::dump_tasks() would: the tree of tasks of every loop that runs, where each waits,
and the jobs that run. ferry must have been built with debug information (-g); optimised is fine.
It only reads memory: nothing is called in the process.
"""

import time

import gdb

NEVER = (1 << 63) - 1  # time_point::max()


class NoFerry(gdb.GdbError):
    pass


def global_value(name):
    symbol = gdb.lookup_global_symbol(name)
    if symbol is None:
        raise NoFerry("There is no %s here: the program does not use ferry, or ferry was built "
                      "without debug information (-g)." % name)
    return symbol.value()


def members(type_):
    """The base classes and members of a class that take room in its objects."""
    return [f for f in type_.strip_typedefs().fields()
            if hasattr(f, "bitpos") and (not f.is_base_class or f.type.sizeof > 1)]


def plain(value):
    """What is in an atomic, a duration, a time_point or a source_location."""
    while value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
        value = value[members(value.type)[0]]
    return value


def pointer_to(type_name):
    return gdb.lookup_type(type_name).pointer()


def member(pointer, type_name, name):
    """A member of what has virtual functions: gdb looks for the type of the whole object, which it
    need not know, and warns, when it follows the pointer itself."""
    for field in gdb.lookup_type(type_name).fields():
        if field.name == name:
            address = int(pointer) + field.bitpos // 8
            return gdb.Value(address).cast(field.type.pointer()).dereference()
    raise unknown_layout(type_name)


def unknown_layout(type_name):
    return NoFerry("%s is not laid out as this script expects; take the script of the same version "
                   "of ferry." % type_name)


def elements(list_, type_name):
    """Of a ferry::detail::list."""
    end = list_["ends_"].address
    link = list_["ends_"]["after"]
    while link != end:
        yield link.cast(pointer_to(type_name))
        link = link["after"]


def text(pointer):
    return pointer.string(errors="replace") if int(pointer) != 0 else ""


# --- places ---


def function_text(name):
    """g++ names the body of a coroutine f "void f(f(int)::_Z1fi.Frame*)"."""
    parameter = ".Frame*)"
    while parameter in name:
        end = name.index(parameter) + len(parameter)
        begin, depth = end, 0
        while True:
            begin -= 1
            depth += {")": 1, "(": -1}.get(name[begin], 0)
            if depth == 0 or begin == 0:
                break
        name = name[:begin] + name[end:]
        if name.startswith("void "):
            name = name[5:]
    return name


def place_text(location):
    """Of a std::source_location: its one member points to file, function, line, column."""
    impl = plain(location)
    if int(impl) == 0:
        return None
    strings = impl.cast(gdb.lookup_type("char").const().pointer().pointer())
    lines = (strings + 2).cast(gdb.lookup_type("unsigned int").pointer())
    place = "%s:%d" % (text(strings[0]), int(lines[0]))
    function = text(strings[1])
    return place + (" in " + function_text(function) if function else "")


# --- tasks ---


def base_offset(type_name, base_name):
    type_ = gdb.lookup_type(type_name)
    for field in members(type_):
        if field.is_base_class and field.type.strip_typedefs().name == base_name:
            return field.bitpos // 8
    raise unknown_layout(type_name)


OPERATION = "ferry::detail::operation"


class Frames:
    """The frames of a task, innermost first, through the blocks that run in the same task."""

    def __init__(self):
        call = "ferry::detail::boundary_operation"
        self.to_operation = (base_offset(call, OPERATION)
                             - base_offset(call, "ferry::detail::boundary"))

    def of(self, task):
        frame = member(task["waiting"], OPERATION, "waiter")
        seen = set()
        while int(frame) != 0 and int(frame) not in seen:
            seen.add(int(frame))
            yield frame
            frame = frame["parent"] if int(frame["parent"]) != 0 else self.around(frame, task)

    def around(self, frame, task):
        """The frame that awaits the block whose outermost frame this is, or null."""
        none = gdb.Value(0)
        end = frame["end"]
        if int(end) == 0:
            return none
        # Not every boundary is an operation: only what fits is taken for one.
        try:
            waiter = member(int(end) + self.to_operation, OPERATION, "waiter")
            return waiter if waiter["task"] == task.address else none
        except gdb.MemoryError:
            return none


def deadline_of(scope):
    earliest = NEVER
    while int(scope) != 0:
        earliest = min(earliest, int(plain(scope["deadline"])))
        if scope["shielded"]:
            break
        scope = scope["parent"]
    return earliest


def stage_of(task, loop):
    if loop["current_task"] == task.address:
        return "running"
    if int(task["waiting"]) == 0:
        return "not started" if task["place"] == loop["dispatch"].address else "running"
    phase = int(member(task["waiting"], OPERATION, "at"))
    return "ready" if phase == 2 else "waiting"


def task_lines(task, loop, depth, now, frames):
    indent = "  " * (depth + 1)
    name = text(task["name"])
    stage = stage_of(task, loop)
    line = indent + ('"%s"' % name if name else "task") + " " + stage
    deadline = deadline_of(task["scope"])
    if task["scope"]["effective"]:
        line += ", cancelled"
    elif deadline != NEVER:
        line += ", deadline in %.3f s" % ((deadline - now) / 1e9)
    if int(task["waiting"]) != 0:
        places = [place_text(frame["where"]) for frame in frames.of(task)]
    elif stage == "running":
        places = [place_text(loop["resumed_at"])]
    else:
        places = []
    places = [place for place in places if place is not None]
    if places:
        line += (", resumed from " if stage == "running" else ", at ") + places[0]
    return [line] + [indent + "    awaited at " + place for place in places[1:]]


def walk(scope, depth):
    """The scopes in and below `scope`, with the number of tasks around each; without recursion."""
    stack = [(scope, depth)]
    while stack:
        scope, depth = stack.pop()
        is_task = int(scope["task"]) != 0 and scope == scope["task"]["root"].address
        if is_task:
            yield scope["task"].dereference(), depth
            depth += 1
        inside = [(s, depth) for s in elements(scope["inside"], "ferry::detail::scope_state")]
        stack.extend(reversed(inside))


def running_loops():
    loop = global_value("ferry::detail::running_loops")
    while int(loop) != 0:
        yield loop.dereference()
        loop = loop["next_running"]


# --- jobs ---


def running_jobs():
    workers = global_value("ferry::detail::listed_workers")
    while int(workers) != 0:
        worker = workers["workers_"]
        while int(worker) != 0:
            card = worker["card"]
            if int(plain(card["since_"])) != 0:
                name = b"".join(int(plain(card["name_"][i])).to_bytes(8, "little") for i in (0, 1))
                yield (name.split(b"\0")[0].decode(errors="replace"), worker,
                       text(plain(card["file_"])), int(plain(card["line_"])),
                       int(plain(card["since_"])))
            worker = worker["after"]
        workers = workers["next_listed"]


def job_line(job, now, about):
    name, worker, file, line, since = job
    return '  %s running for %s%.3f s on thread %d, awaited at %s:%d' % (
        '"%s"' % name if name else "job", about, max(now - since, 0) / 1e9, int(worker["thread"]),
        file, line)


def count(things, noun, verb):
    return "ferry: %d %s" % (len(things), noun if len(things) == 1 else noun + "s") + verb


class Tasks(gdb.Command):
    """The tasks of all loops of ferry that run, where they wait, and the jobs that run."""

    def __init__(self):
        super().__init__("ferry-tasks", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        loops = list(running_loops())
        jobs = list(running_jobs())
        # Of the time when a core file was made only the traces are left that it contains.
        times = [int(plain(loop["looked_at_io_"])) for loop in loops] + [job[4] for job in jobs]
        now, about = max(times, default=0), "at least "
        connection = gdb.selected_inferior().connection
        if connection is not None and connection.type == "native":
            now, about = time.monotonic_ns(), ""
        if not loops:
            print("ferry: no loop runs")
        for loop in loops:
            frames = Frames()
            tops = [loop["root_scope"].address]
            if int(loop["main_scope"]) != 0:
                tops.insert(0, loop["main_scope"])
            tasks = [found for top in tops for found in walk(top, 0)]
            print(count(tasks, "task", " of the loop"))
            for task, depth in tasks:
                for line in task_lines(task, loop, depth, now, frames):
                    print(line)
        print("ferry: %d %s" % (len(jobs), "job runs" if len(jobs) == 1 else "jobs run"))
        for job in jobs:
            print(job_line(job, now, about))


Tasks()
