/* The clock of one process is wrong by as many seconds as the file CLOCK_OFFSET_FILE says. Loaded by LD_PRELOAD: the
 * time of day comes from here, the clock that only counts (CLOCK_MONOTONIC) is left alone, as the kernel leaves it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long offset(void)
{
	const char *name = getenv("CLOCK_OFFSET_FILE");
	char text[32] = "";
	int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	if (file < 0)
		return 0;
	ssize_t length = read(file, text, sizeof text - 1);
	close(file);
	return length > 0 ? atoll(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
	int result = syscall(SYS_clock_gettime, id, now);
	if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		now->tv_sec += offset();
	return result;
}
