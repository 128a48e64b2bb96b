using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;

namespace Vivarium.Translation.Persistence;

/// <summary>
/// A directory of translations that outlive the process. Every file holds blocks of one guest file at one address for one set of host
/// features and one build of the translator. Several processes may use it at once: files are replaced whole, under a lock.
/// </summary>
/// <remarks>Thread-safe. A store that cannot be read or written costs speed, nothing else.</remarks>
public sealed unsafe class TranslationStore
{
    /// <summary>Default bound of the directory in bytes.</summary>
    public const long DefaultLimit = 512L << 20;

    private const long Mkdir = 83, NewFstatAt = 262, GetEuid = 107, AtFdCwd = -100;

    private readonly string _directory;
    private readonly long _limit;
    private readonly ulong _version0, _version1;
    private readonly Dictionary<TranslationKey, StoredBlocks> _known = [];
    private static int s_serial;

    private readonly Lock _saving = new(); // before the lock of _known and those of its blocks
    private Timer? _timer; // made when there is something to save: it brings a thread
    private int _isScheduled;

    /// <param name="directory">Made, with mode 0700, where it does not exist.</param>
    /// <param name="options">The translator's: code depends on some of them.</param>
    /// <param name="limit">Most bytes of all files together.</param>
    /// <exception cref="IOException">The directory cannot be used, or is not the user's alone to write.</exception>
    public TranslationStore(string directory, TranslationOptions? options = null, long limit = DefaultLimit)
    {
        _directory = Path.GetFullPath(directory);
        _limit = limit;
        try
        {
            if (Path.GetDirectoryName(_directory) is { } parent) Directory.CreateDirectory(parent);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException(e.Message, e);
        }
        Make();

        // What is in the directory becomes host code: it must come from exactly this translator.
        Span<Guid> modules =
        [
            typeof(TranslationStore).Module.ModuleVersionId, typeof(HartState).Module.ModuleVersionId, typeof(MemoryWindow).Module.ModuleVersionId,
        ];
        if (modules.Contains(Guid.Empty)) throw new IOException("this build of viv has no version to tell its translations by");
        options ??= new TranslationOptions();
        ulong seed = (uint)options.BlockLimit | (options.StrictMemory ? 1UL << 32 : 0);
        ReadOnlySpan<byte> bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes(modules);
        _version0 = Checksum.Of(bytes, seed);
        _version1 = Checksum.Of(bytes, ~seed);
    }

    /// <summary>How long new blocks wait until they are saved while the program runs on.</summary>
    public TimeSpan SaveInterval { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>Set by the cache that uses the store.</summary>
    internal Statistics Statistics { get; set; } = new();

    /// <summary>What is stored of a file at an address.</summary>
    internal StoredBlocks Open(in CodeIdentity identity, ulong bias)
    {
        return Open(new TranslationKey(identity, bias, HostFeatures.Cpu.Fingerprint, _version0, _version1), replaces: false);
    }

    /// <summary>What is stored of the optimising tier's regions of a file at an address, as the compiler with this identity made them.</summary>
    internal StoredBlocks OpenRegions(in CodeIdentity identity, ulong bias, ulong compiler)
    {
        // Files of their own: the header says what kind they are by its version.
        ReadOnlySpan<byte> seed = System.Runtime.InteropServices.MemoryMarshal.AsBytes(new ReadOnlySpan<ulong>(in compiler));
        return Open(new TranslationKey(identity, bias, HostFeatures.Cpu.Fingerprint, Checksum.Of(seed, _version0), Checksum.Of(seed, _version1)), replaces: true);
    }

    private StoredBlocks Open(in TranslationKey key, bool replaces)
    {
        lock (_known)
        {
            if (!_known.TryGetValue(key, out StoredBlocks? blocks)) _known[key] = blocks = new StoredBlocks(this, key, replaces);
            return blocks;
        }
    }

    /// <summary>Writes the new blocks of this run. Other processes' are kept; where the directory stays locked, nothing is written.</summary>
    public void Save() => Save(0);

    /// <param name="share">Only files of which at least one in so many blocks is new; 0 for all.</param>
    private void Save(int share)
    {
        lock (_saving)
        {
            try
            {
                StoredBlocks[] all;
                lock (_known) all = [.. _known.Values];
                if (!Array.Exists(all, static blocks => blocks.IsWorthSaving)) return;
                using FileStream? locked = LockDirectory();
                if (locked == null) return;
                int stored = 0;
                foreach (StoredBlocks blocks in all)
                {
                    if (share == 0 || blocks.Unsaved * share >= blocks.Known) stored += blocks.Save();
                }
                Statistics.PersistentStored += stored;
                if (stored != 0) Trim();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A full disk or a directory that went away: the next run translates again.
            }
        }
    }

    /// <summary>A program that runs on, or is killed at once, should not lose what it has translated: from time to time the files grow, by an eighth at least, so that
    /// all the writing together stays some times what is written at last.</summary>
    internal void HasNewBlocks()
    {
        if (Volatile.Read(ref _isScheduled) != 0 || Interlocked.Exchange(ref _isScheduled, 1) != 0) return;
        // Whoever comes here has set the flag, and nobody else does before the timer has run.
        _timer ??= new Timer(static store => ((TranslationStore)store!).SaveInBackground(), this, Timeout.Infinite, Timeout.Infinite);
        _timer.Change(SaveInterval, Timeout.InfiniteTimeSpan);
    }

    private void SaveInBackground()
    {
        Volatile.Write(ref _isScheduled, 0);
        Save(8);
    }

    internal string PathOf(string name) => Path.Combine(_directory, name);

    /// <summary>Counts a file that must not be used, and removes it.</summary>
    internal void Refused(string name)
    {
        Statistics.PersistentRefused++;
        TryDelete(PathOf(name));
    }

    /// <summary>Keeps a used file from being the oldest, at most once a day.</summary>
    internal void Used(string name)
    {
        try
        {
            if (DateTime.UtcNow - File.GetLastWriteTimeUtc(PathOf(name)) > TimeSpan.FromDays(1)) File.SetLastWriteTimeUtc(PathOf(name), DateTime.UtcNow);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It only ages sooner.
        }
    }

    internal void Replace(in TranslationKey key, ReadOnlySpan<byte> payload, List<(uint FileOffset, uint Record)> records)
    {
        string path = PathOf(key.FileName), temporary = $"{path}.{Environment.ProcessId}-{Interlocked.Increment(ref s_serial)}.tmp";
        try
        {
            TranslationFile.Write(temporary, key, payload, records);
            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            TryDelete(temporary);
            throw;
        }
    }

    /// <summary>Removes the oldest files until the rest is within the bound, and what died writers left.</summary>
    private void Trim()
    {
        // The directory is locked: nobody is writing a temporary file.
        foreach (string left in Directory.EnumerateFiles(_directory, "*.tmp")) TryDelete(left);
        List<FileInfo> files = [.. new DirectoryInfo(_directory).EnumerateFiles("*" + TranslationFile.Extension)];
        files.Sort(static (a, b) => a.LastWriteTimeUtc.CompareTo(b.LastWriteTimeUtc));
        long total = 0;
        foreach (FileInfo file in files) total += file.Length;
        foreach (FileInfo file in files)
        {
            if (total <= _limit) break;
            total -= file.Length;
            TryDelete(file.FullName);
        }
    }

    private FileStream? LockDirectory()
    {
        for (int attempt = 0; attempt < 40; attempt++)
        {
            try
            {
                return new FileStream(PathOf("lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (Directory.Exists(_directory))
            {
                Thread.Sleep(5);
            }
        }
        return null;
    }

    /// <summary>Makes the directory unless it is there, and sees that only the user can write it.</summary>
    private void Make()
    {
        // SAFETY: the kernel reads a terminated path and fills struct stat (144 bytes on x86-64; st_mode at 24, st_uid at 28).
        byte* stat = stackalloc byte[144];
        byte[] path = [.. System.Text.Encoding.UTF8.GetBytes(_directory), 0];
        long result;
        fixed (byte* p = path)
        {
            HostSyscall.Invoke(Mkdir, (long)p, 0x1C0); // 0700
            result = HostSyscall.Invoke(NewFstatAt, AtFdCwd, (long)p, (long)stat, 0);
        }
        if (result != 0) throw new IOException("it cannot be made");
        uint mode = *(uint*)(stat + 24), owner = *(uint*)(stat + 28);
        if ((mode & 0xF000) != 0x4000) throw new IOException("not a directory");
        if (owner != (uint)HostSyscall.Invoke(GetEuid)) throw new IOException("it belongs to another user");
        if ((mode & 0x12) != 0) throw new IOException("other users may write it"); // S_IWGRP | S_IWOTH
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody else's to remove.
        }
    }
}
