/* PID 1 of a bad update: loads the early modules, arms the watchdog, and never does anything again. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/watchdog.h>, which not every C library comes with */
#ifndef WDIOC_SETTIMEOUT
#define WDIOC_SETTIMEOUT _IOWR('W', 6, int)
#endif

int main(void)
{
	char line[512], path[600];
	int timeout = 10;
	FILE *list = fopen("/lib/modules/early", "r");

	mount("dev", "/dev", "devtmpfs", 0, "");
	while (list && fgets(line, sizeof line, list)) {
		char *parameters = line + strcspn(line, " \n");
		int end = *parameters == '\0' || *parameters == '\n';
		int module;

		*parameters = '\0';
		snprintf(path, sizeof path, "/lib/modules/%s", line);
		module = open(path, O_RDONLY | O_CLOEXEC);
		if (module < 0)
			continue;
		if (!end)
			parameters[1 + strcspn(parameters + 1, "\n")] = '\0';
		syscall(SYS_finit_module, module, end ? "" : parameters + 1, 0);
		close(module);
	}
	int watchdog = open("/dev/watchdog", O_WRONLY);
	ioctl(watchdog, WDIOC_SETTIMEOUT, &timeout);
	printf(write(watchdog, "", 1) == 1 ? "hanging until the watchdog fires\n" : "hanging for ever\n");
	fflush(stdout);
	for (;;)
		pause();
}
