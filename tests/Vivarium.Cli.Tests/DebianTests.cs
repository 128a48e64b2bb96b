namespace Vivarium.Cli.Tests;

/// <summary>Debian's own riscv64 programs, unmodified.</summary>
public sealed class DebianTests
{
    /// <summary>Commands whose output must be QEMU's, byte by byte.</summary>
    public static TheoryData<string, string[]> Commands
    {
        get
        {
            var data = new TheoryData<string, string[]>();
            foreach (string tier in Guests.Tiers)
            {
                foreach (string[] command in (string[][])
                [
                    ["/usr/bin/busybox", "echo", "hello"],
                    ["/usr/bin/busybox", "sha256sum", "/usr/bin/busybox"],
                    ["/usr/bin/busybox", "md5sum", "/usr/lib/riscv64-linux-gnu/libc.so.6"],
                    ["/usr/bin/busybox", "expr", "123456789", "*", "987654321"],
                    ["/usr/bin/busybox", "seq", "1", "0.25", "3"],
                    ["/usr/bin/busybox", "printf", "%08.3f|%x|%-5s|\\n", "3.14159", "255", "ab"],
                    ["/usr/bin/busybox", "awk", "BEGIN { for (i = 0; i < 10; i++) { s += i / 7; } printf \"%.15g %s\\n\", s, substr(\"abcdef\", 2, 3) }"],
                    ["/usr/bin/busybox", "sh", "-c", "i=0; while [ $i -lt 50 ]; do i=$((i+1)); done; echo $i; printf 'b\\na\\n' | sort"],
                    ["/usr/bin/busybox", "find", "/usr/share/doc/bash", "-type", "f"],
                    ["/usr/bin/busybox", "sed", "-n", "s/PRETTY_NAME=//p", "/usr/lib/os-release"],
                    ["/usr/bin/busybox", "factor", "1234567890123456789"],
                    ["/usr/bin/bash", "-c", "declare -A a; a[x]=1; a[y]=$((2**40)); echo ${a[x]} ${a[y]} ${#a[@]}; printf '%05.2f %q\\n' 3.14159 'a b'; [[ abc =~ ^a(.)c$ ]] && echo ${BASH_REMATCH[1]}"],
                    ["/usr/bin/bash", "-c", "f() { local n=$1; ((n < 2)) && { echo $n; return; }; echo $(( $(f $((n-1))) + $(f $((n-2))) )); }; f 8"],
                    ["/usr/bin/bash", "-c", "trap 'echo bye' EXIT; echo ${BASH_VERSION%%.*} {a..e} ${PATH:+set}; shopt -s extglob; x=aaabbb; echo ${x/+(a)/-}; read -r y <<< 'here string'; echo $y"],
                    ["/usr/bin/sort", "-n", "/usr/share/base-passwd/passwd.master"],
                    ["/usr/bin/numfmt", "--to=iec", "123456789"],
                    ["/usr/bin/od", "-A", "d", "-t", "x4z", "-N", "64", "/usr/bin/true"],
                    ["/usr/bin/python3", "-c", "import json; print(json.dumps(json.loads('{\"a\": [1, 2.5, null, \"\\u00e9\"], \"b\": {\"c\": true}}'), sort_keys=True, indent=1))"],
                    ["/usr/bin/python3", "-c", "import hashlib; print([hashlib.new(n, b'abc' * 1000).hexdigest() for n in ('md5', 'sha1', 'sha256', 'sha512', 'sha3_256', 'blake2b', 'blake2s')])"],
                    ["/usr/bin/python3", "-c", "print(repr(0.1 + 0.2), '%.17g' % 1e22, f'{2/3:.3e}', 1e308 * 10, float('nan'), -0.0, (2.5).hex(), round(2.675, 2), 5e-324)"],
                    ["/usr/bin/python3", "-c", "import math, struct; print([math.sin(x) for x in (0.5, 1e10)], math.fsum([.1] * 10), math.gamma(5.5), struct.pack('<dfe', 1.1, 1.1, 1.1).hex(), 3 ** 200 % 10 ** 9, pow(7, -1, 101))"],
                    ["/usr/bin/python3", "-c", "import re, collections, itertools, zlib, base64; print(re.findall(r'(\\w)(\\d+)', 'a1 b22 c333'), zlib.crc32(b'x' * 999), base64.b64encode(zlib.compress(b'ab' * 500)), collections.Counter('mississippi').most_common(2))"],
                ])
                {
                    data.Add(tier, command);
                }
            }

            return data;
        }
    }

    /// <summary>Path of QEMU inside the tree, where it is put once; null where we are not root.</summary>
    private static readonly Lazy<string?> _qemuInRoot = new(() =>
    {
        if (Environment.UserName != "root")
            return null;
        const string Name = "/tmp/qemu-riscv64-static";
        string place = Guests.DebianTree + Name, part = place + Environment.ProcessId;
        if (!File.Exists(place))
        {
            File.Copy(Guests.Qemu!, part);
            File.Move(part, place, overwrite: true);
        }

        return Name;
    });

    [QemuTheory]
    [MemberData(nameof(Commands))]
    public void The_output_is_that_of_QEMU(string tier, string[] command)
    {
        string root = Guests.DebianTree!;
        var ours = Viv.Run(["run", "--tier", tier, "--root", root, "--env", "LC_ALL=C", .. command]);
        // QEMU's user mode has no root of its own. Where we may not chroot, its output is not to be had and the run alone is the test.
        if (_qemuInRoot.Value is { } qemu)
        {
            var theirs = Viv.RunProgram("/usr/bin/env", ["-i", "PATH=/usr/bin:/bin:/usr/sbin", "HOME=/root", "LC_ALL=C", "chroot", root, qemu, .. command]);
            Assert.Equal(theirs.Output, ours.Output);
            Assert.Equal(theirs.ExitCode, ours.ExitCode);
        }

        Assert.Equal((0, ""), (ours.ExitCode, ours.Error));
        Assert.NotEmpty(ours.Output);
    }

    public static TheoryData<string, string> Modules
    {
        get
        {
            var data = new TheoryData<string, string>();
            // Under the interpreter test_math alone takes minutes.
            foreach (string tier in Guests.Tiers)
            {
                foreach (string module in tier == "interp" ? (string[])["test_float"] : ["test_float", "test_math", "test_struct", "test_long", "test_cmath"])
                    data.Add(tier, module);
            }

            return data;
        }
    }

    [DebianTheory]
    [MemberData(nameof(Modules))]
    public void Pythons_own_tests_pass(string tier, string module)
    {
        var result = Viv.RunProgram(Viv.Binary, ["run", "--tier", tier, "--root", Guests.DebianTree!, "/usr/bin/python3", "-m", "test", module], seconds: 600);
        Assert.True(result.ExitCode == 0 && result.Output.Contains("Result: SUCCESS", StringComparison.Ordinal), result.Output + result.Error);
    }

    [DebianFact]
    public void Nothing_outside_the_root_is_reachable()
    {
        string root = Guests.DebianTree!;
        string secret = Path.GetTempFileName();
        try
        {
            File.WriteAllText(secret, "secret");
            string up = string.Concat(Enumerable.Repeat("../", 30));
            foreach (string path in (string[])[secret, up + secret[1..], "/proc/self/root" + secret, "/proc/self/cwd/" + up + secret[1..]])
            {
                var result = Viv.Run("run", "--root", root, "/usr/bin/busybox", "cat", path);
                Assert.NotEqual(0, result.ExitCode);
                Assert.DoesNotContain("secret\n", result.Output);
                Assert.NotEqual("secret", result.Output);
            }
        }
        finally
        {
            File.Delete(secret);
        }
    }

    /// <summary>Debian's strace in the guest follows a shell and its children to their ends.</summary>
    [StraceTheory]
    [InlineData("1")]
    [InlineData("interp")]
    public void Strace_follows_all_processes(string tier)
    {
        var result = Viv.Run("run", "--tier", tier, "--overlay", "--root", Guests.DebianTree!, "/usr/bin/strace", "-f", "/bin/bash", "-c", "/bin/ls / | /usr/bin/wc -l; kill -USR1 $$; echo not reached");
        Assert.Equal(128 + 10, result.ExitCode);
        Assert.Matches("^[0-9]+\n$", result.Output);
        string[] lines = result.Error.Split('\n');
        Assert.Contains(lines, line => line.StartsWith("execve(\"/bin/bash\", [\"/bin/bash\", \"-c\"", StringComparison.Ordinal) && line.EndsWith(" = 0", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.Contains("execve(\"/bin/ls\", [\"/bin/ls\", \"/\"]", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.Contains("openat(AT_FDCWD, \"/\", O_RDONLY|", StringComparison.Ordinal));
        Assert.Equal(2, lines.Count(line => line.EndsWith("+++ exited with 0 +++", StringComparison.Ordinal)));
        Assert.Contains(lines, line => line.Contains("--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER", StringComparison.Ordinal));
        Assert.Contains("+++ killed by SIGUSR1 +++", lines);
    }
}
