%% The Erlang peer: the same questions as bench/*.cpp, asked of Erlang's processes.
%%
%%     erlang-peer BENCH --workers N [--quick] [--count N] [--kind WORD] [--hogs N] [--seconds S]
%%                 [--port N] [--delay-ms N] [--borrow] [--buffer BYTES]
%%
%% Processes have mailboxes instead of channels. Where the others' senders wait for a receiver, senders
%% here wait for an acknowledgement, once per message (select) or per 128 messages (chan_throughput).
%% There is no shared memory to lock, hence no mutex; and a process cannot block in a system call.
-module(thrum_peer).
-behaviour(gen_event).
-export([main/0]).
-export([init/1, handle_event/2, handle_call/2]).

main() ->
    Options = parse(init:get_plain_arguments(), #{kind => "spin", hogs => 1, seconds => 3.0, port => 0,
                                                  delay_ms => 100, workers => 1, quick => false, count => 0,
                                                  buffer => 1024}),
    run(maps:get(bench, Options, ""), Options),
    halt(0).

run("yield", O) -> measure("", scaled(4000000, O), fun yield/1);
run("spawn_join", O) ->
    measure("", scaled(1000000, O), fun(N) -> spawn_rounds(N, 1) end),
    measure("batch", scaled(1000000, O), fun(N) -> spawn_rounds(N, 1000) end);
run("chan_pingpong", O) -> measure("", scaled(1000000, O), fun ping_pong/1);
run("chan_throughput", O) ->
    measure("1x1", scaled(5000000, O), fun(N) -> pump(N, 1) end),
    measure("4x4", scaled(5000000, O), fun(N) -> pump(N, 4) end);
run("select", O) -> measure("", scaled(2000000, O), fun select_four/1);
%% A hundred thousand leaves only: a million take ten seconds.
run("skynet", O) -> measure("", scaled(100000, O), fun skynet/1);
run("ring", O) -> measure("", scaled(2000000, O), fun ring/1);
run("timers", O) -> measure("", scaled(1000000, O), fun timed_waits/1);
run("parked_memory", O) -> parked_memory(O);
run("hog_fairness", #{kind := Kind} = O) when Kind =/= "syscall" -> hog_fairness(O);
run("echo", O) -> serve(O, 0);
run("c10k", O) -> serve(O, maps:get(delay_ms, O));
run(Bench, _) -> fail(3, "The Erlang peer does not offer '" ++ Bench ++ "' as it was asked for.").

%% The command line and the JSON lines.

parse([], O) -> O;
parse(["--quick" | Rest], O) -> parse(Rest, O#{quick := true});
parse(["--borrow" | Rest], O) -> parse(Rest, O);
parse(["--kind", Value | Rest], O) -> parse(Rest, O#{kind := Value});
parse(["--seconds", Value | Rest], O) -> parse(Rest, O#{seconds := real("--seconds", Value)});
parse(["--workers", Value | Rest], O) -> parse(Rest, O#{workers := integer("--workers", Value)});
parse(["--count", Value | Rest], O) -> parse(Rest, O#{count := integer("--count", Value)});
parse(["--hogs", Value | Rest], O) -> parse(Rest, O#{hogs := integer("--hogs", Value)});
parse(["--port", Value | Rest], O) -> parse(Rest, O#{port := integer("--port", Value)});
parse(["--delay-ms", Value | Rest], O) -> parse(Rest, O#{delay_ms := integer("--delay-ms", Value)});
parse(["--buffer", Value | Rest], O) -> parse(Rest, O#{buffer := integer("--buffer", Value)});
parse(["--" ++ Name | _], _) -> fail(2, "The option '--" ++ Name ++ "' is unknown or lacks its value.");
parse([Bench | Rest], O) -> parse(Rest, O#{bench => Bench}).

integer(Name, Text) -> round(real(Name, Text)).

real(Name, Text) ->
    case {string:to_float(Text), string:to_integer(Text)} of
        {{F, []}, _} -> F;
        {_, {I, []}} -> float(I);
        _ -> fail(2, Name ++ " needs a number, but got '" ++ Text ++ "'.")
    end.

fail(Status, Sentence) ->
    io:format(standard_error, "~s~n", [Sentence]),
    halt(Status).

scaled(_, #{count := Count}) when Count > 0 -> Count;
scaled(Full, #{quick := true}) -> Full div 10;
scaled(Full, _) -> Full.

report(Suffix, Metric, Value, Unit) ->
    io:format("{\"variant_suffix\":\"~s\",\"metric\":\"~s\",\"value\":~.6f,\"unit\":\"~s\"}~n",
              [Suffix, Metric, float(Value), Unit]).

%% Every round runs in a fresh process, so that neither heap nor mailbox is inherited.
measure(Suffix, N, Work) ->
    in_process(fun() -> Work(N div 10 + 1) end),
    Begin = erlang:monotonic_time(nanosecond),
    in_process(fun() -> Work(N) end),
    report(Suffix, "ns_op", (erlang:monotonic_time(nanosecond) - Begin) / N, "ns").

in_process(Work) ->
    {_, Monitor} = spawn_monitor(Work),
    receive {'DOWN', Monitor, process, _, Reason} ->
        Reason =:= normal orelse fail(1, "A bench crashed.")
    end.

join_all(Monitors) ->
    [receive {'DOWN', M, process, _, normal} -> ok end || {_, M} <- Monitors],
    ok.

%% Benches of the scheduler itself.

yield(N) -> join_all([spawn_monitor(fun() -> yield_loop(N div 8) end) || _ <- lists:seq(1, 8)]).

yield_loop(0) -> ok;
yield_loop(N) -> erlang:yield(), yield_loop(N - 1).

spawn_rounds(N, _) when N =< 0 -> ok;
spawn_rounds(N, Batch) ->
    join_all([spawn_monitor(fun() -> ok end) || _ <- lists:seq(1, Batch)]),
    spawn_rounds(N - Batch, Batch).

skynet(Leaves) ->
    Size = power_of_ten(Leaves, 1),
    skynet_node(self(), 0, Size),
    Expected = Size * (Size - 1) div 2,
    receive Expected -> ok end.

power_of_ten(Leaves, Size) when Size >= Leaves -> Size;
power_of_ten(Leaves, Size) -> power_of_ten(Leaves, Size * 10).

skynet_node(Parent, First, 1) -> Parent ! First;
skynet_node(Parent, First, Size) ->
    Self = self(),
    Child = Size div 10,
    [spawn(fun() -> skynet_node(Self, First + I * Child, Child) end) || I <- lists:seq(0, 9)],
    Parent ! lists:sum([receive Sum -> Sum end || _ <- lists:seq(1, 10)]).

%% A thousand processes wait for data with a time limit of one hour; the data come before it each time.
timed_waits(N) ->
    Rounds = N div 1000 + 1,
    Self = self(),
    Waiters = [spawn_monitor(fun() -> timed_waiter(Self, Rounds) end) || _ <- lists:seq(1, 1000)],
    send_rounds([Pid || {Pid, _} <- Waiters], Rounds),
    join_all(Waiters).

%% The next round starts when all have taken the last: nobody's mailbox grows.
send_rounds(_, 0) -> ok;
send_rounds(Waiters, Rounds) ->
    [Pid ! data || Pid <- Waiters],
    [receive taken -> ok end || _ <- Waiters],
    send_rounds(Waiters, Rounds - 1).

timed_waiter(_, 0) -> ok;
timed_waiter(Sender, Rounds) ->
    receive data -> Sender ! taken after 3600000 -> fail(1, "A limit of one hour has passed too early.") end,
    timed_waiter(Sender, Rounds - 1).

%% Benches of messages.

ping_pong(N) ->
    Pong = spawn_link(fun pong/0),
    ping(Pong, N),
    unlink(Pong),
    exit(Pong, kill).

ping(_, 0) -> ok;
ping(Pong, N) ->
    Pong ! {self(), N},
    receive N -> ping(Pong, N - 1) end.

pong() -> receive {From, N} -> From ! N, pong() end.

%% Producer p sends to the consumers in turn; each waits for its credit after 128 messages.
pump(N, Pairs) ->
    Each = N div Pairs div 128 * 128,
    Self = self(),
    Consumers = [spawn_link(fun() -> consume(Self, Pairs * Each div Pairs, 0) end) || _ <- lists:seq(1, Pairs)],
    [spawn_link(fun() -> produce(Consumers, [], Each) end) || _ <- lists:seq(1, Pairs)],
    Received = lists:sum([receive {received, R} -> R end || _ <- Consumers]),
    Received =:= Pairs * Each orelse fail(1, "chan_throughput lost a message.").

produce(_, _, 0) -> ok;
produce(Consumers, [], N) -> produce(Consumers, Consumers, N);
produce(Consumers, [To | Others], N) when N rem 128 =:= 0 ->
    To ! {self(), N},
    receive credit -> produce(Consumers, Others, N - 1) end;
produce(Consumers, [To | Others], N) ->
    To ! N,
    produce(Consumers, Others, N - 1).

consume(Owner, 0, Received) -> Owner ! {received, Received};
consume(Owner, Left, Received) ->
    receive
        {From, _} -> From ! credit;
        N when is_integer(N) -> ok
    end,
    consume(Owner, Left - 1, Received + 1).

%% Four producers with a tag each; the consumer receives whichever comes first and acknowledges it.
select_four(N) ->
    Self = self(),
    Each = N div 4,
    [spawn_link(fun() -> select_produce(Self, Tag, Each) end) || Tag <- [a, b, c, d]],
    select_consume(Each * 4).

select_produce(_, _, 0) -> ok;
select_produce(To, Tag, N) ->
    To ! {Tag, self(), N},
    receive taken -> select_produce(To, Tag, N - 1) end.

select_consume(0) -> ok;
select_consume(N) ->
    receive
        {a, From, _} -> From ! taken;
        {b, From, _} -> From ! taken;
        {c, From, _} -> From ! taken;
        {d, From, _} -> From ! taken
    end,
    select_consume(N - 1).

ring(N) ->
    Laps = N div 1000 + 1,
    First = lists:foldl(fun(_, Next) -> spawn_link(fun() -> ring_node(Next, Laps) end) end, self(),
                        lists:seq(1, 999)),
    ring_laps(First, 0, Laps) =:= Laps * 999 orelse fail(1, "The ring's token lost a hop.").

ring_laps(_, Token, 0) -> Token;
ring_laps(First, Token, Laps) ->
    First ! Token,
    receive Next -> ring_laps(First, Next, Laps - 1) end.

ring_node(_, 0) -> ok;
ring_node(Next, Laps) ->
    receive Token -> Next ! Token + 1 end,
    ring_node(Next, Laps - 1).

%% Benches of many or of greedy processes.

parked_memory(O) ->
    N = scaled(1000000, O),
    {Rss0, Tables0} = memory(),
    {Cpu0, _} = erlang:statistics(runtime),
    Self = self(),
    Milliseconds = round(maps:get(seconds, O) * 1000),
    [spawn(fun() -> parked(Self, Milliseconds) end) || _ <- lists:seq(1, N)],
    [receive started -> ok; ended -> too_early() end || _ <- lists:seq(1, N)],
    timer:sleep(500),
    {Rss, Tables} = memory(),
    {Idle0, _} = erlang:statistics(runtime),
    timer:sleep(1000),
    {Idle, _} = erlang:statistics(runtime),
    receive ended -> too_early() after 0 -> ok end,
    [receive ended -> ok end || _ <- lists:seq(1, N)],
    {Cpu, _} = erlang:statistics(runtime),
    Name = size_name(N),
    report(Name, "rss_bytes_each", (Rss - Rss0) / N, "bytes"),
    report(Name, "rss_pte_bytes_each", (Rss - Rss0 + Tables - Tables0) / N, "bytes"),
    report(Name, "idle_cpu_ms_s", Idle - Idle0, "ms/s"),
    report(Name, "cpu_s", (Cpu - Cpu0) / 1000, "s").

too_early() -> fail(1, "Some processes ended before all had been measured: give more --seconds.").

parked(Owner, Milliseconds) ->
    Owner ! started,
    receive after Milliseconds -> Owner ! ended end.

memory() ->
    {ok, File} = file:open("/proc/self/status", [read, raw, binary]),
    {ok, Text} = file:read(File, 65536),
    file:close(File),
    {field(Text, "VmRSS"), field(Text, "VmPTE")}.

field(Text, Name) ->
    {match, [Kib]} = re:run(Text, Name ++ ":\\s*(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(Kib) * 1024.

size_name(N) when N >= 1000000, N rem 1000000 =:= 0 -> integer_to_list(N div 1000000) ++ "m";
size_name(N) when N >= 1000, N rem 1000 =:= 0 -> integer_to_list(N div 1000) ++ "k";
size_name(N) -> integer_to_list(N).

hog_fairness(#{kind := Kind, hogs := Hogs, workers := Workers, seconds := Seconds}) ->
    Self = self(),
    End = now_us() + round(Seconds * 1.0e6),
    Ticker = fun() ->
        timer:sleep(1),
        Self ! ready,
        Self ! {late, lists:sort(tick(End, []))}
    end,
    spawn_link(Ticker),
    receive ready -> ok end,
    [spawn_link(fun() -> hog(Kind, End) end) || _ <- lists:seq(1, Hogs * Workers)],
    Late = receive {late, L} -> L end,
    Count = length(Late),
    At = fun(P) -> lists:nth(round(P * (Count - 1)) + 1, Late) end,
    Suffix = Kind ++ "-" ++ integer_to_list(Hogs) ++ "x",
    report(Suffix, "ticks", Count, "ticks"),
    report(Suffix, "p50_us", At(0.50), "us"),
    report(Suffix, "p99_us", At(0.99), "us").

now_us() -> erlang:monotonic_time(microsecond).

tick(End, Late) ->
    case now_us() of
        Begin when Begin < End ->
            receive after 1 -> ok end,
            tick(End, [now_us() - Begin - 1000 | Late]);
        _ -> Late
    end.

hog(Kind, End) ->
    case now_us() < End of
        true -> hog_once(Kind, 1000, 1), hog(Kind, End);
        false -> ok
    end.

hog_once(_, 0, X) -> X;
hog_once("spin", N, X) -> hog_once("spin", N - 1, (X * 48271) rem 2147483647);
hog_once("call", N, X) ->
    self() ! X,
    receive X -> hog_once("call", N - 1, X) end.

%% The servers: one process for each connection.

serve(#{port := Port, buffer := Size}, Delay) ->
    Options = [binary, {active, false}, {nodelay, true}, {backlog, 4096}, {buffer, Size}, {reuseaddr, true},
               {ip, {127, 0, 0, 1}}],
    case gen_tcp:listen(Port, Options) of
        {ok, Listener} ->
            {ok, Bound} = inet:port(Listener),
            io:format("PORT ~b~n", [Bound]),
            ok = gen_event:swap_handler(erl_signal_server, {erl_signal_handler, []}, {?MODULE, []}),
            os:set_signal(sigterm, handle),
            accept(Listener, Delay);
        {error, Reason} -> fail(1, "The port cannot be bound: " ++ atom_to_list(Reason) ++ ".")
    end.

accept(Listener, Delay) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Handler = spawn(fun() -> receive go -> handle(Socket, Delay, <<>>) end end),
    ok = gen_tcp:controlling_process(Socket, Handler),
    Handler ! go,
    accept(Listener, Delay).

%% Echoes what comes; with a delay, each whole request waits for its "database" first.
handle(Socket, Delay, Held) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Bytes} when Delay =:= 0 -> answer(Socket, Delay, Bytes);
        {ok, Bytes} when byte_size(Held) + byte_size(Bytes) < 64 ->
            handle(Socket, Delay, <<Held/binary, Bytes/binary>>);
        {ok, Bytes} ->
            receive after Delay -> ok end,
            answer(Socket, Delay, <<Held/binary, Bytes/binary>>);
        {error, _} -> gen_tcp:close(Socket)
    end.

answer(Socket, Delay, Bytes) ->
    case gen_tcp:send(Socket, Bytes) of
        ok -> handle(Socket, Delay, <<>>);
        {error, _} -> gen_tcp:close(Socket)
    end.

%% The handler of SIGTERM: report the CPU time and end.

init(_) -> {ok, []}.

handle_event(sigterm, _) ->
    {Cpu, _} = erlang:statistics(runtime),
    report("", "cpu_total_s", Cpu / 1000, "s"),
    halt(0);
handle_event(_, State) -> {ok, State}.

handle_call(_, State) -> {ok, ok, State}.
