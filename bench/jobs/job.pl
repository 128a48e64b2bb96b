use strict;
my (%count, @list);
for my $i (1 .. 200000) {
    my $w = "key" . ($i * 7919 % 5003);
    $count{$w}++;
    push @list, $w if $i % 3 == 0;
}
my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my $text = join ",", @list;
my $hits = 0;
$hits++ while $text =~ /key(\d)\1/g;
my $s = 0;
for my $i (1 .. 1500000) { $s = ($s * 31 + $i) % 1000003 }
(my $t = $text) =~ s/key(\d+)/<$1>/g;
print "$sorted[0] $hits $s ", length $t, "\n";
