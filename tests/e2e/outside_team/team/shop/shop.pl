# SPDX-License-Identifier: Apache-2.0
# Another team's app, in another language and without a model: it keeps what the collection's README asks of an app.
use strict;
use warnings;
use IO::Socket::INET;

my $ending = 0;
my $answered = 0;
my $server = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 128, ReuseAddr => 1) or die "listen: $@";
$SIG{TERM} = sub { $ending = 1 };
$SIG{PIPE} = "IGNORE";

while (1) {
    # After SIGTERM, what has come in by then is answered.
    $server->blocking(!$ending);
    my $client = $server->accept;
    if (!$client) { last if $ending; next }
    $client->blocking(1);
    my $request = "";
    while (index($request, "\r\n\r\n") < 0) { sysread($client, $request, 65536, length $request) or last }
    my $text = $request =~ m{^GET /metrics } ? "shop_answers_total $answered\n" : "release $ENV{RELEASE} of the shop\n";
    $answered++;
    syswrite($client, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: "
        . length($text) . "\r\n\r\n$text");
    close $client;
}
