using System.Globalization;
using System.Text;
using Vivarium.Linux.Ipc;

namespace Vivarium.Linux.Vfs;

// /proc/sysvipc: the realm's System V objects (what ipcs(1) falls back on), and /proc/sys: what the kernel may be told.
internal static partial class ProcFileSystem
{
    private static FixedDirectory SystemVTables()
    {
        const string path = "/proc/sysvipc";
        return new FixedDirectory(path, 0x16D,
            new ContentFile(path + "/shm", caller => Table(caller?.Realm.Ipc, "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap",
                ipc => ipc.Segments.All, (one, mode) => $"{one.Key,10} {one.Id,10}  {mode,4} {one.Size,21} {one.Creator,5} {one.LastUser,5}  {one.Attached,5} {one.Uid,5} {one.Gid,5} {one.CreatorUid,5} {one.CreatorGid,5} "
                    + $"{one.AttachTime,10} {one.DetachTime,10} {one.ChangeTime,10} {one.File.MemoryBytes(),21} {0,21}")),
            new ContentFile(path + "/sem", caller => Table(caller?.Realm.Ipc, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime",
                ipc => ipc.Semaphores.All, (one, mode) => $"{one.Key,10} {one.Id,10}  {mode,4} {one.Values.Length,10} {one.Uid,5} {one.Gid,5} {one.CreatorUid,5} {one.CreatorGid,5} {one.OperationTime,10} {one.ChangeTime,10}")),
            new ContentFile(path + "/msg", caller => Table(caller?.Realm.Ipc, "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime",
                ipc => ipc.Queues.All, (one, mode) => $"{one.Key,10} {one.Id,10}  {mode,4}  {one.Bytes,10} {one.Messages.Count,10} {one.LastSender,5} {one.LastReceiver,5} {one.Uid,5} {one.Gid,5} {one.CreatorUid,5} {one.CreatorGid,5} "
                    + $"{one.SendTime,10} {one.ReceiveTime,10} {one.ChangeTime,10}")));
    }

    private static string Table<T>(SystemV? ipc, string head, Func<SystemV, IEnumerable<T>> all, Func<T, string, string> row) where T : IpcObject
    {
        var text = new StringBuilder(head).Append('\n');
        if (ipc == null) return text.ToString();
        lock (ipc.Gate)
        {
            foreach (var one in all(ipc)) text.Append(row(one, Convert.ToString(one.Mode | (one.IsRemoved ? 0x200 : 0), 8))).Append('\n');
        }
        return text.ToString();
    }

    /// <summary>Root of the realm may write it: 0, or negative errno.</summary>
    private static ContentFile Setting(string path, Func<Realm, string> get, Func<Realm, string, long> set) =>
        new(path, caller => caller == null ? "" : get(caller.Realm) + "\n", 0x1A4)
        {
            Writer = (caller, text) => caller.Credentials.EffectiveUid != 0 ? -Errno.EPERM : set(caller.Realm, text.TrimEnd('\n', '\0')),
        };

    /// <summary>A number that is kept and told, without effect.</summary>
    private static ContentFile Kept(string path, string value) =>
        Setting(path, realm => realm.Settings.GetValueOrDefault(path, value), (realm, text) =>
        {
            if (!long.TryParse(text.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number)) return -Errno.EINVAL;
            realm.Settings[path] = number.ToString(CultureInfo.InvariantCulture);
            return 0;
        });

    private delegate ref ulong Limit(IpcLimits limits);

    /// <summary>Numbers that bound System V objects.</summary>
    private static ContentFile Limits(string path, params Limit[] which) => Setting(path,
        realm => string.Join('\t', which.Select(one => one(realm.Ipc.Limits).ToString(CultureInfo.InvariantCulture))),
        (realm, text) =>
        {
            string[] words = text.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || words.Length > which.Length) return -Errno.EINVAL;
            var values = new ulong[words.Length];
            for (int i = 0; i < words.Length; i++)
            {
                if (!ulong.TryParse(words[i], NumberStyles.None, CultureInfo.InvariantCulture, out values[i])) return -Errno.EINVAL;
                if (which.Length > 1 && values[i] > int.MaxValue) return -Errno.EINVAL;
            }
            for (int i = 0; i < words.Length; i++) which[i](realm.Ipc.Limits) = values[i];
            return 0;
        });

    private static ContentFile Name(string path, Func<Realm, string> get, Action<Realm, string> set) => Setting(path, get, (realm, text) =>
    {
        set(realm, text.Length > 64 ? text[..64] : text);
        return 0;
    });
}
