/*
 * Holds a pod's namespaces open, and is process 1 of the testbed's node. As process 1 it gets the children of
 * processes that have ended, and reaps them.
 */
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static void reap(int signal_number)
{
	(void)signal_number;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(void)
{
	struct sigaction stopping = {.sa_handler = stop};
	struct sigaction reaping = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};

	if (sigaction(SIGINT, &stopping, NULL) < 0 || sigaction(SIGTERM, &stopping, NULL) < 0 ||
	    sigaction(SIGCHLD, &reaping, NULL) < 0)
		return 1;
	for (;;)
		pause();
}
