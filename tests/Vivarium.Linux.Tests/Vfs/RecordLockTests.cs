using System.Runtime.CompilerServices;
using FsCheck;
using FsCheck.Fluent;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>Record locks against a model with one owner set per byte.</summary>
public class RecordLockTests
{
    private static GuestProcess Process(int pid) => new()
    {
        Realm = new Realm(new RunOptions { Program = "/none", Arguments = ["none"] }),
        Pid = pid,
        Memory = (AddressSpace)RuntimeHelpers.GetUninitializedObject(typeof(AddressSpace)),
        Files = new FileTable(),
        Fs = null!,
    };

    // F_GETLK tells the conflicting lock that begins first, in whatever order they were set.
    [Fact]
    public void The_first_lock_in_the_way_is_told()
    {
        var (mine, others) = (Process(1), Process(2));
        var locks = new RecordLocks();
        Assert.Equal(0, locks.Set(null!, (1, 1), new RecordLocks.Range(10, 14, true, others), wait: false));
        Assert.Equal(0, locks.Set(null!, (1, 1), new RecordLocks.Range(1, 5, false, others), wait: false));
        Assert.Equal(1, locks.Conflict((1, 1), new RecordLocks.Range(0, long.MaxValue, true, mine))?.Start);
        Assert.Equal(10, locks.Conflict((1, 1), new RecordLocks.Range(0, long.MaxValue, false, mine))?.Start);
        locks.ReleaseAll(others);
    }

    [Fact]
    public void Behave_like_bytes_with_owners()
    {
        var operation = from owner in Gen.Choose(0, 2) from type in Gen.Choose(0, 2) from start in Gen.Choose(0, 20) from length in Gen.Choose(1, 12) select (owner, type, start, length);
        GuestProcess[] processes = [Process(1), Process(2), Process(3)];
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(200), Prop.ForAll(Arb.From(Gen.ListOf(operation)), operations =>
        {
            var locks = new RecordLocks();
            var model = new int[3, 40]; // 0 none, 1 shared, 2 exclusive
            foreach (var (owner, type, start, length) in operations)
            {
                var wanted = new RecordLocks.Range(start, start + length - 1, type == 1, processes[owner]);
                if (type == 2) locks.Unset((1, 1), processes[owner], start, start + length - 1);
                bool free = true;
                for (int i = start; i < start + length; i++)
                {
                    for (int other = 0; other < 3; other++) if (other != owner && (model[other, i] == 2 || model[other, i] == 1 && type == 1)) free = false;
                }
                if (type != 2)
                {
                    Assert.Equal(free, locks.Conflict((1, 1), wanted) == null);
                    Assert.Equal(free ? 0 : -Errno.EAGAIN, locks.Set(null!, (1, 1), wanted, wait: false));
                }
                if (type == 2 || free) for (int i = start; i < start + length; i++) model[owner, i] = type == 2 ? 0 : type + 1;
                for (int i = 0; i < 40; i++)
                {
                    for (int other = 0; other < 3; other++)
                    {
                        // Who would be in the way of a stranger's write to this byte?
                        bool shared = locks.Conflict((1, 1), new RecordLocks.Range(i, i, true, processes[other])) != null;
                        bool expected = false;
                        for (int holder = 0; holder < 3; holder++) expected |= holder != other && model[holder, i] != 0;
                        Assert.Equal(expected, shared);
                    }
                }
            }
            foreach (var process in processes) locks.ReleaseAll(process);
            Assert.All(processes, process => Assert.Equal(0, process.LockedFiles));
            Assert.Null(locks.Conflict((1, 1), new RecordLocks.Range(0, long.MaxValue, true, processes[0])));
        }));
    }
}
